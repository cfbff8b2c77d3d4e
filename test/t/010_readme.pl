# Every SQL block of README.md and of each file in docs runs, in order, in a new database for each file as an
# unprivileged role, and what it shows is what the text block after it says. Functions in tables exist, links
# lead somewhere, and the picture of the schema has every table and column. The rights that README.md names are
# enough, and no more.
use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tree = "$FindBin::Bin/../..";
my @files = ('README.md', map { s{^\Q$tree/\E}{}r } sort glob "$tree/docs/*.md");
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->start;
$node->safe_psql(
	'postgres', q{
		CREATE ROLE shop_owner LOGIN;
		CREATE ROLE till LOGIN;
		CREATE ROLE backend LOGIN});

# Blanks and rules differ with the width of columns; a reader does not count them.
sub normalised
{
	my ($text) = @_;
	$text =~ s/-{2,}/--/g;
	$text =~ s/[ \t]+/ /g;
	$text =~ s/^ | $//mg;
	$text =~ s/\n{2,}/\n/g;
	$text =~ s/^\n|\n\z//g;
	return $text;
}

for my $file (@files)
{
	my $document = slurp_file("$tree/$file");
	my $database = $file eq 'README.md' ? 'shop' : $file =~ s{.*/|\.md$}{}gr;
	my @blocks;

	while ($document =~ /^(```|~~~)(\w*)[^\n]*\n(.*?)^\1$/msg)
	{
		my ($kind, $text) = ($2, $3);
		my $line = 1 + ($` =~ tr/\n//);
		if ($kind eq 'sql')
		{
			push @blocks, { line => $line, sql => $text };
		}
		elsif ($kind eq 'text')
		{
			$blocks[-1]{shown} = $text;
		}
	}
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql('postgres', "GRANT CREATE ON DATABASE $database TO shop_owner");
	cmp_ok(scalar @blocks, '>', 10, 'README.md has SQL blocks') if $file eq 'README.md';

	# One session for all of them, as a reader would have.
	my $script = '';
	$script .= "\\echo <<block $_>>\n$blocks[$_]{sql}" for 0 .. $#blocks;
	my ($stdout, $stderr) = ('', '');
	IPC::Run::run(
		[
			$node->installed_command('psql'), '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-P', 'pager=off',
			'-d', $node->connstr($database), '-U', 'shop_owner'
		],
		'<', \$script, '>', \$stdout, '2>', \$stderr);
	unlike($stderr, qr/ERROR|FATAL/, "$file: no block fails") or diag($stderr);

	my @shown = split /^<<block \d+>>\n/m, $stdout;
	shift @shown;
	for my $i (0 .. $#blocks)
	{
		my $block = $blocks[$i];
		is(normalised($shown[$i] // 'not reached'),
			normalised($block->{shown} // ''), "$file line $block->{line}");
	}

	# The functions in its tables exist.
	for my $name (map { /`(\w+)\(/g } $document =~ /^\|([^|]*)\|/mg)
	{
		is( $node->safe_psql('shop', qq{
				SELECT count(*) > 0 FROM pg_catalog.pg_proc
				WHERE proname = '$name' AND pronamespace = 'customer_groups'::regnamespace}),
			't', "$file: function $name");
	}

	# So do the files and headings that it leads to.
	my $folder = $file =~ s{[^/]*$}{}r;
	while ($document =~ /\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)
	{
		my ($to, $anchor) = ($1 eq '' ? $file : "$folder$1", $2);
		ok(-e "$tree/$to", "$file: link to $to");
		next if !defined $anchor || !-f "$tree/$to";
		my @anchors = map { lc s/[^\w\- ]//gr =~ s/ /-/gr } slurp_file("$tree/$to") =~ /^#+ (.*)$/mg;
		ok((grep { $_ eq $anchor } @anchors), "$file: link to $to#$anchor");
	}
}

# The picture of the schema is of this schema.
my $picture = slurp_file("$tree/docs/schema.svg");
for my $name (
	split /\n/,
	$node->safe_psql('shop', q{
		SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'customer_groups'::regnamespace AND c.relkind = 'r'
		UNION SELECT a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
		WHERE c.relnamespace = 'customer_groups'::regnamespace AND c.relkind = 'r'}))
{
	like($picture, qr/>\Q$name\E</, "docs/schema.svg has $name");
}

# What it says of rights.
sub as_role
{
	my ($role, $sql) = @_;
	my ($status, $out, $err) = $node->psql('shop', $sql, extra_params => [ '-U', $role ],
		on_error_stop => 0);
	return "$out$err";
}

is( as_role('till', 'INSERT INTO customer_groups.sales (customer_id, store_id, amount) VALUES (1, 1, 5)'),
	'', 'a role with the level sell inserts a sale');
is( $node->safe_psql('shop', 'SELECT count(*) FROM customer_groups.check_integrity()'),
	'0', 'which is booked');
like(
	as_role('till', q{
		INSERT INTO customer_groups.sales (customer_id, amount, recorded_at) VALUES (1, 5, '2001-01-01')}),
	qr/permission denied for table sales/, 'and cannot set recorded_at');
like(as_role('till', 'SELECT customer_groups.effective_discount(1, 1)'),
	qr/^\d+\.\d+$/, 'and gets a price');
like(
	as_role('till', q{UPDATE customer_groups.promotions SET value = 99 WHERE code = 'shoe-week'}),
	qr/permission denied for table promotions/, 'and changes no promotion');
is( as_role('backend', q{UPDATE customer_groups.promotions SET value = 11 WHERE code = 'shoe-week'}),
	'', 'a role with the level edit does');
like(
	as_role('backend', q{INSERT INTO customer_groups.settings (currency) VALUES ('EUR')}),
	qr/permission denied for table settings/, 'and leaves the settings alone');

$node->stop;
done_testing();
