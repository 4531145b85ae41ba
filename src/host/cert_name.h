/* cert_name.h - what may stand in a certificate, as people write it: for
 * struct field's check. NULL when it is fine, else what is wanted. */
#ifndef ZTNA_HOST_CERT_NAME_H
#define ZTNA_HOST_CERT_NAME_H

const char *cert_name_check(const char *text);         /* "laptop-7" */
const char *cert_name_check_service(const char *text); /* "web-app", "*" */
const char *cert_name_check_dns(const char *text);     /* a whole host name */

#endif
