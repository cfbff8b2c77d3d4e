# A dump restores every row as it was and counts nothing twice; the next sale goes on from there.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

my $node = Shop::server('main');
$node->start;
Shop::create($node, 'shop');
Shop::fill($node, 'shop');
$node->safe_psql('postgres', 'CREATE ROLE other_owner LOGIN');
Shop::grant_levels($node, 'shop');

my $contents = Shop::contents($node, 'shop');
my $answers = Shop::sql($node, 'shop', $Shop::prices);
my $dir = PostgreSQL::Test::Utils::tempdir;
my $url = $node->connstr('shop');

# Every table holds something, or the comparison would say nothing of it.
my $empty = $node->safe_psql('shop', q{
	SELECT string_agg(c.relname, ', ') FROM pg_class AS c
	WHERE c.relnamespace = 'customer_groups'::regnamespace AND c.relkind = 'r'
	AND xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %s', c.oid::regclass), false, true, ''))::text = '{0}'});
is($empty, '', 'there are rows in every table');
Shop::sound($node, 'shop', 'the shop is sound');
like($contents, qr/tier_upgraded/, 'with tiers earned');
is( Shop::sql($node, 'shop', q{
		SELECT (SELECT count(*) FROM customer_groups.sales WHERE refund_of IS NOT NULL),
			(SELECT count(DISTINCT sale_id) FROM customer_groups.sale_lines WHERE total IS NOT NULL),
			(SELECT count(DISTINCT sale_id) FROM customer_groups.sale_line_promotions WHERE group_id IS NOT NULL)}),
	'1|2|2', 'a sale and its refund, for a group');

# The owner, who is no superuser, makes the dumps.
command_ok([ 'pg_dump', '-U', 'shop_owner', '-Fc', '-f', "$dir/custom", '-d', $url ], 'dump in custom format');
command_ok([ 'pg_dump', '-U', 'shop_owner', '-Fp', '-f', "$dir/plain", '-d', $url ], 'dump in plain format');
command_ok([ 'pg_dump', '-U', 'shop_owner', '-Fd', '-j', '4', '-f', "$dir/folder", '-d', $url ], 'dump by several jobs');
command_ok([ 'pg_dump', '-U', 'shop_owner', '-Fp', '--inserts', '-f', "$dir/inserts", '-d', $url ], 'dump as INSERTs');
command_ok([ 'pg_dump', '-U', 'shop_owner', '-Fp', '--rows-per-insert=100', '-f', "$dir/rows", '-d', $url ], 'dump as large INSERTs');
unlike(slurp_file("$dir/plain"), qr/cache_stamps/, 'stamps are not dumped');

# What the next sales and days lead to: events, in each restored database the same.
my $last_event = Shop::sql($node, 'shop', 'SELECT max(id) FROM customer_groups.events');
my $next_events = qq{
	CALL customer_groups.fill_segments();
	SELECT customer_groups.advance_segments(now() + interval '9 days');
	SELECT min(id) - $last_event, count(*) FROM customer_groups.events WHERE id > $last_event;
	SELECT kind, customer_id, group_id, segment_id, detail - '{effective_at,added_by}'::text[]
	FROM customer_groups.events WHERE id > $last_event ORDER BY 1, 2, 3, 4, id};
my %next;

# new_database(NAME, OWNER): empty, where that role may install the extension.
sub new_database
{
	my ($name, $owner) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql('postgres', "GRANT CREATE ON DATABASE $name TO $owner");
	return $node->connstr($name);
}

# restored(DATABASE, OWNER, WARNINGS, PATTERN): the tests of a restored database.
sub restored
{
	my ($database, $owner, $warnings, $pattern) = @_;
	my @as = (extra_params => [ '-U', $owner ]);

	like($warnings, $pattern, "$database: the warning says how many rows were taken as they are");
	unlike($warnings, qr/ERROR/, "$database: no error");
	ok(Shop::contents($node, $database) eq $contents, "$database: all rows and sequences are the same")
	  or diff($contents, Shop::contents($node, $database));
	Shop::sound($node, $database, "$database: it is sound");
	is($node->safe_psql($database, $Shop::prices, @as), $answers, "$database: the prices are the same");
	is( $node->safe_psql($database, q{
			SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class
			WHERE relnamespace = 'customer_groups'::regnamespace AND relkind IN ('r', 'v', 'S')}),
		$owner, "$database: it belongs to who restored it");

	is($node->safe_psql($database, $Shop::levels, @as), "seller|sell\nviewer|view", "$database: the access levels are the same");
	is($node->safe_psql($database, $Shop::prices, extra_params => [ '-U', 'viewer' ]), $answers, "$database: who may ask for prices still may");

	# Customer 41 has 50 and gold by hand; customer 11 is left out; customer 42 is new.
	$node->safe_psql($database, q{
		INSERT INTO customer_groups.customers (name) VALUES ('New');
		INSERT INTO customer_groups.sales (customer_id, amount) VALUES (41, 10), (42, 2000), (11, 100000)}, @as);
	is( $node->safe_psql($database, q{
			SELECT f.customer_id, trim_scale(f.net_sales - CASE f.customer_id WHEN 11 THEN s.before ELSE 0 END), g.code, m.source
			FROM customer_groups.customer_facts AS f
			LEFT JOIN customer_groups.members AS m ON m.customer_id = f.customer_id AND m.group_id < 3
			LEFT JOIN customer_groups.groups AS g ON g.id = m.group_id,
			LATERAL (SELECT sum(amount * coalesce(rate, 1)) AS before FROM customer_groups.sales
				WHERE customer_id = f.customer_id AND recorded_at < now() AND amount < 100000) AS s
			WHERE f.customer_id IN (11, 41, 42) ORDER BY 1}, @as),
		"11|100000||\n41|60|gold|manual\n42|2000|gold|tier", "$database: the next sales go on from there");
	$node->safe_psql($database, q{
		UPDATE customer_groups.sales SET amount = amount * 2 WHERE kind = 'product' AND id % 5 = 0;
		DELETE FROM customer_groups.sale_lines AS l USING customer_groups.sales AS s WHERE s.id = l.sale_id AND coalesce(s.refund_of, s.id) % 3 = 0;
		DELETE FROM customer_groups.sales WHERE coalesce(refund_of, id) % 3 = 0;
		DELETE FROM customer_groups.customers WHERE NOT EXISTS (SELECT FROM customer_groups.sales WHERE customer_id = customers.id);
		DELETE FROM customer_groups.groups WHERE code = 'regular';
		UPDATE customer_groups.promotions SET value = 20 WHERE id = 1}, @as);
	Shop::sound($node, $database, "$database: and it stays sound");
	$next{$database} = $node->safe_psql($database, $next_events, @as);
	Shop::sound($node, $database, "$database: also when its segments are 9 days further");
	is($node->safe_psql($database, 'SELECT discount FROM customer_groups.effective_price(NULL, 2)', @as), '0.60', "$database: an edited promotion counts");
	return;
}

sub diff
{
	my ($before, $after) = map { [ split /\n/, $_ ] } @_;
	my %before = map { $_ => 1 } @$before;
	my %after = map { $_ => 1 } @$after;
	diag "- $_" for grep { !$after{$_} } @$before;
	diag "+ $_" for grep { !$before{$_} } @$after;
	return;
}

my $sales = Shop::sql($node, 'shop', 'SELECT count(*) FROM customer_groups.sales');
my $sales_warning = qr/WARNING:  $sales rows of table sales were recorded before/;
my ($out, $err);

# pg_restore shows warnings with -v only.

my $to = new_database('from_custom', 'shop_owner');
IPC::Run::run([ 'pg_restore', '-v', '-U', 'shop_owner', '-d', $to, "$dir/custom" ], '>', \$out, '2>', \$err);
like($err, $sales_warning, 'from_custom: the sales are counted');
restored('from_custom', 'shop_owner', $err, qr/WARNING:  41 rows of table customers were recorded before/);

$to = new_database('from_plain', 'shop_owner');
IPC::Run::run([ 'psql', '-X', '-q', '-U', 'shop_owner', '-d', $to, '-f', "$dir/plain" ], '>', \$out, '2>', \$err);
restored('from_plain', 'shop_owner', $err, $sales_warning);

$to = new_database('from_plain_at_once', 'shop_owner');
IPC::Run::run([ 'psql', '-X', '-q', '-1', '-U', 'shop_owner', '-d', $to, '-f', "$dir/plain" ], '>', \$out, '2>', \$err);
restored('from_plain_at_once', 'shop_owner', $err, $sales_warning);

$to = new_database('from_inserts', 'shop_owner');
IPC::Run::run([ 'psql', '-X', '-q', '-U', 'shop_owner', '-d', $to, '-f', "$dir/inserts" ], '>', \$out, '2>', \$err);
restored('from_inserts', 'shop_owner', $err, qr/WARNING:  1 row of table sales was recorded before/);

$to = new_database('from_rows', 'shop_owner');
IPC::Run::run([ 'psql', '-X', '-q', '-U', 'shop_owner', '-d', $to, '-f', "$dir/rows" ], '>', \$out, '2>', \$err);
restored('from_rows', 'shop_owner', $err, qr/WARNING:  100 rows of table sales were recorded before/);

$to = new_database('another_owner', 'other_owner');
IPC::Run::run([ 'pg_restore', '-v', '-U', 'other_owner', '--no-owner', '-d', $to, "$dir/custom" ], '>', \$out, '2>', \$err);
restored('another_owner', 'other_owner', $err, $sales_warning);

$to = new_database('superuser', 'other_owner');
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
IPC::Run::run([ 'pg_restore', '-v', '--no-owner', '-d', $to, "$dir/custom" ], '>', \$out, '2>', \$err);
restored('superuser', $superuser, $err, $sales_warning);

$to = new_database('from_custom_at_once', 'shop_owner');
IPC::Run::run([ 'pg_restore', '-v', '-1', '-U', 'shop_owner', '-d', $to, "$dir/custom" ], '>', \$out, '2>', \$err);
restored('from_custom_at_once', 'shop_owner', $err, $sales_warning);

# In parallel, in whatever order: the rows are taken as a replica takes them, which the owner must be allowed. Again and again, as the
# order is another each time.
$node->safe_psql('postgres', 'GRANT SET ON PARAMETER session_replication_role TO shop_owner') if $node->pg_version >= 15;
$ENV{PGOPTIONS} = '-c session_replication_role=replica';
for my $round (1 .. $ENV{RESTORE_ROUNDS} // 3)
{
	for my $jobs (2, 4)
	{
		$to = new_database('in_parallel', 'shop_owner');
		command_ok([ 'pg_restore', '-j', $jobs, '-U', 'shop_owner', '-d', $to, $round % 2 ? "$dir/custom" : "$dir/folder" ], "round $round: restored by $jobs jobs");
		local $ENV{PGOPTIONS};
		ok(Shop::contents($node, 'in_parallel') eq $contents, 'all rows and sequences are the same')
		  or diff($contents, Shop::contents($node, 'in_parallel'));
		Shop::sound($node, 'in_parallel', 'it is sound');
		restored('in_parallel', 'shop_owner', '', qr//) if $round == 1 && $jobs == 4;
		$node->safe_psql('postgres', 'DROP DATABASE in_parallel');
	}
}
delete $ENV{PGOPTIONS};

my ($one, @others) = sort keys %next;
like($next{$one}, qr/segment_$_/, "the next sales and days lead to segment_$_") for 'entered', 'left';
is($next{$_}, $next{$one}, "$_: as in all other databases") for @others;

$node->stop;
done_testing();
