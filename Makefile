# make             build/ztna
# make check       build and run all tests (tests/run.sh), in minutes
# make check-long  gigabytes, many users, dead lines: the tests that take longer
# make demo        relay, connector and agent in one process on loopback
# make bench       measurements; make fuzz: the fuzz programs, for longer
# make install     PREFIX and DESTDIR as usual; make uninstall
#
# SAN=address,undefined builds beside the plain build, in build/san-...; the
# libraries come from packaging/bootstrap.sh, run when build/deps is not there.

CC       = gcc
PREFIX   = /usr/local
OPT      = -O2 -g
SAN      =
PLATFORM = $(if $(filter Darwin,$(shell uname)),darwin,linux)
FUZZ_SECONDS = 60
ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 2)
endif

comma := ,
D := build/deps
DEPS := $(patsubst %,$D/.%,wolfssl ngtcp2 nghttp3 libmicrohttpd)
B := build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))

CFLAGS = -std=c11 -D_GNU_SOURCE $(OPT) -Wall -Wextra -Werror \
         -Wno-unused-parameter $(HARDEN) -Iinclude -Isrc -isystem $D/include
# src/transport/quic_keys.c stands in for these of ngtcp2's crypto helper
WRAP := $(patsubst %,-Wl$(comma)--wrap=ngtcp2_crypto_%,aead_ctx_encrypt_init \
          aead_ctx_decrypt_init aead_ctx_free cipher_ctx_encrypt_init \
          cipher_ctx_free) -Wl,-u,__wrap_ngtcp2_crypto_aead_ctx_free
LDLIBS = $(WRAP) $(patsubst %,$D/lib/lib%.a,ngtcp2_crypto_wolfssl ngtcp2 nghttp3 \
           wolfssl microhttpd natpmp miniupnpc jansson uv $(LIBS_$(PLATFORM))) \
         -lpthread -lm
LIBS_linux = seccomp
ifneq ($(SAN),)
# gcc loses track of unions under sanitizers and warns of overflows that are none
HARDEN  = -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer \
          -Wno-stringop-overflow
LDFLAGS = -fsanitize=$(SAN)
else
HARDEN        = -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
LDFLAGS_linux = -pie -Wl,-z,relro,-z,now
LDFLAGS       = $(LDFLAGS_$(PLATFORM))
endif

# --- what is built from what: a new file needs no line here

objs = $(patsubst %.c,$B/obj/%.o,$(wildcard $(1)))
progs = $(patsubst $(1)/%.c,$B/$(2)/%,$(wildcard $(1)/$(3)_*.c))

CORE_OBJS := $(call objs,$(patsubst %,src/%/*.c,base codec part stack transport \
               role)) $(patsubst %,$B/obj/lwip/%.o,tcp tcp_in tcp_out pbuf mem memp)
HOST_OBJS := $(call objs,src/host/*.c platform/$(PLATFORM)/*.c)
APPLETS   := $(call objs,applets/*.c)
TEST_OBJS := $(filter-out %/driver.o,$(foreach d,unit sim bench,\
  $(call objs,$(filter-out tests/$d/test_% tests/$d/bench_%,\
    $(wildcard tests/$d/*.c)))))

LIBS  := $B/libhost.a $B/libztna.a
UNIT  := $(call progs,tests/unit,tests,test)
SIM   := $(call progs,tests/sim,tests/sim,test)
BENCH := $(call progs,tests/bench,tests,bench)
TOOLS := $(call progs,tests/e2e,tests,tool)
FUZZ  := $(if $(wildcard tests/fuzz/driver.c),\
           $(call progs,tests/fuzz,tests,fuzz))

all: $(LIBS) $(if $(APPLETS),$B/ztna)

$B/libztna.a:    $(CORE_OBJS)
$B/libhost.a:    $(HOST_OBJS)
$B/libtesting.a: $(TEST_OBJS)

$B/ztna: $(APPLETS) $(LIBS)
	$(CC) $(LDFLAGS) -o $@ $(APPLETS) $(LIBS) $(LDLIBS)

$(UNIT): $B/tests/%: $B/obj/tests/unit/%.o
$(SIM): $B/tests/sim/%: $B/obj/tests/sim/%.o
$(BENCH): $B/tests/%: $B/obj/tests/bench/%.o
$(TOOLS): $B/tests/%: $B/obj/tests/e2e/%.o
$(FUZZ): $B/tests/%: $B/obj/tests/fuzz/%.o $B/obj/tests/fuzz/driver.o
$B/tests/tool_hostile: $(call objs,$(wildcard tests/e2e/hostile*.c))
$B/tests/tool_evil: $(call objs,$(wildcard tests/e2e/evil*.c))
$B/tests/tool_blind: $(APPLETS)
$B/tests/tool_blind: LDFLAGS += -Wl,-z,muldefs
$B/tests/tool_impostor: $(APPLETS)
$B/tests/tool_impostor: LDFLAGS += -Wl,--wrap=tls_session
$B/tests/tool_tcp: $(call objs,$(wildcard tests/e2e/tcp_*.c))
$(UNIT) $(SIM): TEST_LIBS = -lcmocka
$(UNIT) $(SIM) $(BENCH) $(TOOLS) $(FUZZ): $B/libtesting.a $(LIBS)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $B/libtesting.a $(LIBS) \
	  $(LDLIBS) $(TEST_LIBS)

$B/obj/%.o: %.c $(DEPS) | $D/.stamp
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(if $(filter tests/%,$<),-Itests) -MMD -MP -c -o $@ $<

# lwIP's TCP, as src/stack/lwipopts.h has it; its warnings are not ours
$B/obj/src/stack/%.o: CFLAGS += -isystem $D/lwip/include -Isrc/stack
$B/obj/lwip/%.o: $D/.lwip
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -w -I$D/lwip/include -Isrc/stack -MMD -MP -c -o $@ $D/lwip/core/$*.c

$B/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $^

# A library that was not built anew is no reason to compile anything
$(DEPS) $D/.lwip: | $D/.stamp ;
$D/.stamp: packaging/bootstrap.sh
	CC='$(CC)' MAKE='$(MAKE)' packaging/bootstrap.sh

# --- what is done with it

programs: all $(UNIT) $(SIM) $(TOOLS) $(FUZZ)

check: programs
	packaging/test-deps.sh check
	tests/run.sh $B

check-long: programs
	packaging/test-deps.sh long
	ZTNA_LONG=1 tests/run.sh $B

fuzz: $(FUZZ)
	for f in $(FUZZ); do $$f --seconds $(FUZZ_SECONDS) || exit 1; done

bench: all $(BENCH) $(TOOLS)
	packaging/test-deps.sh bench
	tests/bench/run.sh $B

demo: all
	$B/ztna demo

bindir = $(DESTDIR)$(PREFIX)/bin

install: all
	install -d $(bindir)
	install -m 755 $B/ztna $(bindir)/ztna
	for a in $$($B/ztna --list | cut -d' ' -f1); do \
	  ln -sf ztna $(bindir)/ztna-$$a; done

uninstall:
	rm -f $(bindir)/ztna
	for l in $(bindir)/ztna-*; do \
	  test "$$(readlink $$l)" != ztna || rm -f $$l; done

clean: # keeps the libraries; `rm -r build` removes them too
	rm -rf build/obj build/tests build/san-* build/*.a build/ztna

.PHONY: all programs check check-long fuzz bench demo install uninstall clean
.SECONDARY:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

-include $(shell find $B/obj -name '*.d' 2>/dev/null)
