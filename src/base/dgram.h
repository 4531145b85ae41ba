/* dgram.h - trains of UDP datagrams; see ztna/dgram.h. */
#ifndef ZTNA_DGRAM_H
#define ZTNA_DGRAM_H

#include <ztna/dgram.h>

#endif
