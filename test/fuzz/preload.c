/*
 * preload.c
 *		Keeps servers of script/fuzz and script/sanitize from binding message catalogues: with
 *		AddressSanitizer loaded before it, glibc 2.36 waits for ever in its second
 *		bindtextdomain().  Messages stay in English.
 */
extern char *bindtextdomain(const char *domain, const char *dir);
extern char *bind_textdomain_codeset(const char *domain, const char *codeset);

char *
bindtextdomain(const char *domain, const char *dir)
{
	(void) domain;
	return (char *) dir;
}

char *
bind_textdomain_codeset(const char *domain, const char *codeset)
{
	(void) domain;
	return (char *) codeset;
}
