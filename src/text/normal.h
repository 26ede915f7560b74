/* Unicode normalisation of text, as some vocabularies were trained on. */
#ifndef TERN_TEXT_NORMAL_H
#define TERN_TEXT_NORMAL_H

#include "base/str.h"

/* Append text[0..n) composed (NFC); bytes that are not UTF-8 stay as they are. Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_text_nfc(const char *text, size_t n, tern_str *out, tern_err *err);

#endif
