# What can be read off the sources: every error has an SQLSTATE and PostgreSQL's style, and docs/errors.md lists it, and nothing else;
# each C function is in the room whose SQL declares it; SQL text in C qualifies its functions and operators, and the install script what it
# makes; docs/security.md speaks of every file that acts as the owner or reads a table past the executor.
use strict;
use warnings;

use File::Find;
use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = "$FindBin::RealBin/../..";
my (@c, @sql);
find(sub {
	push @c, $File::Find::name if /\.[chly]$/ && !/_(gram|scan)\.[ch]$/;
	push @sql, $File::Find::name if /\.sql$/;
}, "$root/src");
cmp_ok(@c + @sql, '>', 50, 'there are sources');

# SQLSTATEs by the names that C gives them.
my $pg_config = $ENV{PG_CONFIG} // 'pg_config';
chomp(my $include = `$pg_config --includedir-server`);
my %sqlstate;
my $errcodes = slurp_file("$include/utils/errcodes.h");
while ($errcodes =~ /#define ERRCODE_(\w+) MAKE_SQLSTATE\(([^)]*)\)/g)
{
	my ($name, $characters) = ($1, $2);
	$sqlstate{$name} = join '', $characters =~ /'(.)'/g;
}
is($sqlstate{INVALID_PARAMETER_VALUE}, '22023', 'SQLSTATEs are known');

# The text between the parenthesis that opens at a place and the one that closes it, strings skipped.
sub in_parentheses
{
	my ($text, $start) = @_;
	my $depth = 0;
	pos($text) = $start;
	while ($text =~ /\G(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^"'()]+|([()]))/gc)
	{
		$depth += $1 eq '(' ? 1 : -1 if defined $1;
		return substr($text, $start + 1, pos($text) - $start - 2) if $depth == 0;
	}
	die 'parenthesis is not closed: ' . substr($text, $start, 80);
}

# The arguments of a call, split at its commas.
sub arguments
{
	my ($text) = @_;
	my @result = ('');
	my $depth = 0;
	while ($text =~ /\G("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^"'(),]+|[(),])/gc)
	{
		my $part = $1;
		$depth++ if $part eq '(';
		$depth-- if $part eq ')';
		if ($part eq ',' && $depth == 0) { push @result, '' }
		else { $result[-1] .= $part }
	}
	return @result;
}

# The strings that an expression may be: adjacent literals are one, those of ?: several.
sub strings
{
	my ($text) = @_;
	my @result;
	my $current;
	while ($text =~ /\G(?:"((?:[^"\\]|\\.)*)"|([?:])|(INT64_FORMAT|UINT64_FORMAT|[A-Z_]+)|[^"?:A-Z]+)/gc)
	{
		if (defined $1) { $current .= $1 }
		elsif (defined $2) { push @result, $current if defined $current; undef $current }
		elsif (defined $3 && defined $current) { $current .= '%s' }
	}
	push @result, $current if defined $current;
	s/\\(.)/$1/g for @result;
	return @result;
}

# A message as the document has it.
sub shown
{
	my ($message) = @_;
	$message =~ s/%(?:l*[dus]|c|%)/…/g;
	return $message;
}

my %raised; # SQLSTATE and message, shown
my @bad;

sub check_message
{
	my ($where, $state, $message) = @_;
	push @bad, "$where: message \"$message\"" unless $message =~ /^(?:[[:lower:]]|%|")/ && $message !~ /[.!\n]$/;
	$raised{"$state " . shown($message)} = $where;
	return;
}

sub check_sentences
{
	my ($where, @texts) = @_;
	for my $text (@texts)
	{
		push @bad, "$where: detail or hint \"$text\"" unless $text =~ /^(?:[[:upper:]%"`]|[a-z]+_\w+|[a-z_]+\()/ && $text =~ /(?:[.:)"]|%s)$/;
	}
	return;
}

for my $file (@c)
{
	my $text = slurp_file($file);
	(my $name = $file) =~ s,^\Q$root\E/,,;
	$text =~ s{/\*.*?\*/}{ my $c = $&; $c =~ tr/\n//cd; $c }egs;
	my %several = map { $_ => 1 } $text =~ /\binvalid_line\([^;]*?ERRCODE_(\w+)/g;
	while ($text =~ /\b(ereport|cg_ereturn|errsave)\s*\(/g)
	{
		my $start = $+[0] - 1;
		next if substr($text, 0, $-[0]) =~ /#define[^\n]*(?:\\\n[^\n]*)*\z/;
		my $where = "$name:" . (1 + (substr($text, 0, $start) =~ tr/\n//));
		my $body = in_parentheses($text, $start);
		my $error = $1 ne 'ereport' || $body =~ /^\s*ERROR\b/;
		my @states = $body =~ /errcode\(\s*ERRCODE_(\w+)\s*\)/g;
		# One function raises it for several.
		@states = sort keys %several if $body =~ /errcode\(sqlstate\)/;
		push @bad, "$where: no errcode" if $error && !@states;
		push @bad, "$where: several errcodes" if @states > 1 && $body !~ /errcode\(sqlstate\)/;
		push @bad, "$where: ERRCODE_$_ is not known" for grep { !exists $sqlstate{$_} } @states;
		my @messages;
		while ($body =~ /\b(errmsg|errmsg_plural|errdetail|errdetail_plural|errhint)\s*\(/g)
		{
			my $kind = $1;
			my @arguments = arguments(in_parentheses($body, $+[0] - 1));
			my @strings = map { strings($_) } @arguments[ 0 .. ($kind =~ /plural/ ? 1 : 0) ];
			if ($kind =~ /errmsg/) { push @messages, @strings }
			else { check_sentences($where, grep { $_ ne '%s' } @strings) }
		}
		push @bad, "$where: no message" if !@messages;
		for my $code ($error ? map { $sqlstate{$_} // '?' } @states : '00000')
		{
			check_message($where, $code, $_) for @messages;
		}
	}
}

for my $file (@sql)
{
	my $text = slurp_file($file);
	(my $name = $file) =~ s,^\Q$root\E/,,;
	$text =~ s/^\s*--.*$//mg;
	while ($text =~ /\bRAISE (EXCEPTION|WARNING|NOTICE)\s+((?:'(?:[^']|'')*'|[^';])*);/g)
	{
		my ($level, $body) = ($1, $2);
		my $where = "$name:" . (1 + (substr($text, 0, $-[0]) =~ tr/\n//));
		my ($message) = $body =~ /^E?'((?:[^']|'')*)'/;
		my ($state) = $body =~ /\bERRCODE = '(\w+)'/;
		$state = $sqlstate{ uc $state } // $state if defined $state;
		if (!defined $message)
		{
			push @bad, "$where: no message";
			next;
		}
		$message =~ s/''/'/g;
		if ($level eq 'EXCEPTION')
		{
			push @bad, "$where: no ERRCODE" if !defined $state || $state !~ /^[0-9A-Z]{5}$/;
			push @bad, "$where: no HINT" if $body !~ /\bHINT = /;
		}
		check_sentences($where, map { s/''/'/gr } $body =~ /\b(?:DETAIL|HINT) = (?:format\()?'((?:[^']|'')*)'/g);
		$message = 'n rows of table % were recorded before and are taken as they are' if $message eq '%' && $level eq 'WARNING';
		next if $message eq '%';
		check_message($where, $level eq 'EXCEPTION' ? $state // '?' : '00000', $message =~ s/%/%s/gr);
	}
}
is(join("\n", @bad), '', 'each error has an SQLSTATE, and PostgreSQL\'s style');
cmp_ok(scalar keys %raised, '>', 100, 'there are many');

# The document: a heading for each SQLSTATE, and below it its messages.
my (%documented, $state);
for (split /\n/, slurp_file("$root/docs/errors.md"))
{
	$state = $1 if /^### ([0-9A-Z]{5})\b/;
	undef $state if /^## /;
	$documented{"$state $1"} = 1 if defined $state && /^- `(.*)`$/;
}
for my $entry (sort grep { !/^00000/ } keys %raised)
{
	ok($documented{$entry}, "docs/errors.md lists $entry");
}
is(join("\n", sort grep { !$raised{$_} } keys %documented), '', 'and nothing else');

# From an SQL function to its code in two steps: the SQL of its room names the symbol, which is in the C of that room.
my (%symbol, @lost);
for my $file (@c)
{
	my ($room) = $file =~ m,([^/]+)/[^/]+$,;
	my $text = slurp_file($file);
	$symbol{"$room $_"} = $text =~ /^\Q$_\E\(PG_FUNCTION_ARGS\)/m for $text =~ /^PG_FUNCTION_INFO_V1\((\w+)\)/mg;
}
for my $file (@sql)
{
	my ($room) = $file =~ m,([^/]+)/[^/]+$,;
	my $text = slurp_file($file);
	push @lost, map { "$_ of $file" } grep { !delete $symbol{"$room $_"} } $text =~ /'MODULE_PATHNAME', '(\w+)'/g;
	push @lost, map { "$file: no symbol named" } $text =~ /'MODULE_PATHNAME'(?!,)/g;
}
is(join("\n", @lost), '', 'each symbol that SQL names is in the C of the same room');
is(join("\n", sort keys %symbol), '', 'and SQL names each that is there');

# The install script: a statement that makes, changes or speaks of an object names it with its schema, and makes what was not there.
my %kinds;
@bad = ();
for my $file (@sql)
{
	(my $text = slurp_file($file)) =~ s/^\s*--.*$//mg;
	(my $name = $file) =~ s,^\Q$root\E/,,;
	while ($text =~ /^((?:CREATE|ALTER|COMMENT|DROP|GRANT|REVOKE)\b.*)$/mg)
	{
		my $line = $1;
		my ($kind) = $line =~ /^(\w+ (?:ON )?(?:UNIQUE |UNLOGGED )?\w+)/;
		$kinds{$kind}++;
		push @bad, "$name: $line" if $line =~ /\b(?:OR REPLACE|IF (?:NOT )?EXISTS)\b/;
		push @bad, "$name: $line" if $line !~ ($kind =~ /INDEX|TRIGGER/ && $kind !~ /COMMENT/ ? qr/\bON customer_groups\./
			: $kind =~ /CAST/ ? qr/\(.*\bcustomer_groups\.\w+.*\)/ : qr/^\w+ (?:ON )?(?:UNIQUE |UNLOGGED )?\w+ (?:CLASS |\w+ ON )?(?:TABLE )?customer_groups\./);
	}
	push @bad, "$name: $&" while $text =~ /\b(?:REFERENCES|EXECUTE FUNCTION) (?!customer_groups\.|pg_catalog\.)\S+/g;
}
is(join("\n", @bad), '', 'statements of the install script name objects with their schema, and replace none');
cmp_ok(scalar keys %kinds, '>', 8, 'of many kinds: ' . join(', ', map { "$_ $kinds{$_}" } sort keys %kinds));

# SQL text in C.
my $syntax = join '|', qw(coalesce greatest least exists any all values rows from unnest in array row over filter as and or on select where
	t d m e u s f v x p g r c l b n a o w from_id excluded using set update by lower_bound customers_of join lateral returning into cast conflict then when not end);
my $operators = 0;
for my $file (@c)
{
	my $text = slurp_file($file);
	(my $name = $file) =~ s,^\Q$root\E/,,;
	$text =~ s{/\*.*?\*/}{}gs;
	# Literals that follow each other, macros between them.
	while ($text =~ /((?:"(?:[^"\\\n]|\\.)*"\s*(?:[A-Z][A-Z_0-9]+\s*)?)+)/g)
	{
		my $literal = join ' ', $1 =~ /"((?:[^"\\\n]|\\.)*)"/g;
		next unless $literal =~ /\b(?:SELECT|UPDATE|DELETE FROM|INSERT INTO|FROM customer_groups|JOIN customer_groups)\b/ && $literal !~ /^[a-z].*[a-z]$/;
		$operators += () = $literal =~ /OPERATOR\(pg_catalog\./g;
		my $where = "$name: " . substr($literal, 0, 60);
		$literal =~ s/\\[nt]/ /g;
		$literal =~ s/'[^']*'//g;
		$literal =~ s/OPERATOR\(pg_catalog\.[^)]*\)/ /g;
		my @unqualified = $literal =~ /(?<=\s)(=|<>|<|>|<=|>=|\|\||\+|\*|~|\bIN \(|\bBETWEEN\b|\bLIKE\b|\bNULLIF\b|\bDISTINCT FROM\b|\bUSING \()(?=[\s(\$])/g;
		# Assignments of UPDATE ... SET; count(*) and the like.
		my $assigned = () = $literal =~ /(?:\bSET|,)\s+\(?[a-z_, ]+\)?\s=\s/g;
		@unqualified = () if @unqualified <= $assigned && !grep { $_ ne '=' } @unqualified;
		is("@unqualified", '', "operators of $where") if @unqualified;
		my @calls = grep { !/^(?:$syntax)$/i } $literal =~ /(?<![.\w%])([a-z_]\w*)\s?\((?!customer|group|id|kind|segment|reached|sale)/g;
		is("@calls", '', "functions of $where") if @calls;
	}
}
cmp_ok($operators, '>', 80, 'SQL text in C was found');

# The review.
my $review = slurp_file("$root/docs/security.md");
my ($acting) = $review =~ /^(## C code that acts as the owner.*?)^## /ms;
my ($reading) = $review =~ /^(## Reading past the executor.*?)^## /ms;
for my $file (sort @c)
{
	(my $name = $file) =~ s,^\Q$root\E/src/,,;
	next if $name =~ m,^catalog/|\.h$,;
	my $text = slurp_file($file);
	like($acting, qr/`\Q$name\E`/, "docs/security.md: $name acts as the owner") if $text =~ /\bcg_become_owner\(/;
	like($reading, qr/`\Q$name\E`/, "docs/security.md: $name reads past the executor")
		if $text =~ /\b(?:cg_scan_(?:begin\w*|id)|cg_cache_validate|table_beginscan|index_beginscan|heap_\w*(?:fetch|delete|insert)|CatalogTuple\w+|cg_customer_exists)\(/;
	unlike($text, qr/\b(?:table_open|relation_open|heap_open|table_openrv|relation_openrv|systable_beginscan)\(/,
		"$name opens no relation but through src/catalog");
}

done_testing();
