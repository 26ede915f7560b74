/* What a request for the page says of it. */
#ifndef SERVER_PAGE_H
#define SERVER_PAGE_H

#include <stdbool.h>

/* Whether a value of Accept-Encoding allows gzip; NULL: it does not. */
bool page_takes_gzip(const char *accept);
/* Whether a value of If-None-Match names the tag, which has its quotes; NULL: it does not. */
bool page_has_tag(const char *list, const char *tag);

#endif
