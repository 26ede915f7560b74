/* Made by web/build.mjs of the page beside it. */
#define WEB_PAGE_TAG "924d46952d6e8cb682d91a6cffd10a5f"
#define WEB_PAGE_POLICY \
    "default-src 'none'; " \
    "script-src 'sha256-x7SC609ovciSoHVOK7FsAA7ypm1ny6TbWDr6TALvImY='; " \
    "style-src 'sha256-sfeJNCzVyWmIGKdawtZ9WEUeP2O04ct/t+pe24qGnG4='; " \
    "img-src data:; " \
    "connect-src 'self'; " \
    "base-uri 'none'; " \
    "form-action 'none'; " \
    "frame-ancestors 'none'; " \
    "require-trusted-types-for 'script'; " \
    "trusted-types dompurify"
