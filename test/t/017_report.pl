# script/report draws a page from any database with the extension: an empty one, the demo's shop, one with
# markup in its names. It is well-formed, shows what the views say, and a role without rights gets none.
use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tree = "$FindBin::Bin/../..";
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE shop_owner LOGIN; CREATE ROLE analyst LOGIN');
for my $database (qw(empty shop))
{
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql('postgres', "GRANT CREATE ON DATABASE $database TO shop_owner");
}

sub run_script
{
	my ($script, $database, $user, @arguments) = @_;
	my ($stdout, $stderr) = ('', '');
	local @ENV{qw(PGHOST PGPORT PGUSER PGDATABASE)} = ($node->host, $node->port, $user, $database);
	IPC::Run::run([ "$tree/script/$script", @arguments ], '<', \undef, '>', \$stdout, '2>', \$stderr);
	return ($? >> 8, $stdout, $stderr);
}

# The page, after what holds for every one: the server's own parser reads it as XML.
sub page
{
	my ($database, $name) = @_;
	my ($status, $page, $err) = run_script('report', $database, 'analyst');
	is($status, 0, "$name: drawn");
	is($err, '', "$name: without a word beside");
	SKIP:
	{
		skip 'this server was built without libxml', 1 unless (run_command([ 'pg_config', '--configure' ]))[0] =~ /--with-libxml/;
		is( $node->safe_psql('postgres', "SELECT xml_is_well_formed_document(\$page\$$page\$page\$)"),
			't', "$name: well-formed");
	}
	unlike($page, qr/(?:src|href)=|\@import|url\(/, "$name: needs nothing else");
	return $page;
}

my $as_owner = [ extra_params => [ '-U', 'shop_owner' ] ];
$node->safe_psql('empty', 'CREATE EXTENSION customer_groups', @$as_owner);
$node->safe_psql('empty', q{DO $$ BEGIN PERFORM customer_groups.grant_access('analyst', 'view'); END $$}, @$as_owner);
like(page('empty', 'an empty shop'), qr/The shop has no customers, groups or sales\./, 'an empty shop: says so');

is((run_script('demo', 'shop', 'shop_owner', '--server'))[0], 0, 'the demo has run');
my ($status, $out, $err) = run_script('report', 'shop', 'analyst');
isnt($status, 0, 'without the level view nothing is drawn');
is($out, '', 'not even a part');
like($err, qr/permission denied/, 'and it says why');
$node->safe_psql('shop', q{DO $$ BEGIN PERFORM customer_groups.grant_access('analyst', 'view'); END $$}, @$as_owner);

my $page = page('shop', 'the demo');
like($page, qr/<b>1,635\.00<\/b><span>Net sales, USD</, 'the demo: its net sales');
like($page, qr/<h2>$_<\/h2>/, "the demo: $_") for 'Sales by day', 'Tiers', 'Groups', 'Recency and frequency', 'Cohorts';
unlike($page, qr/<h2>(?:Segments|Promotions)<\/h2>/, 'the demo: nothing of what it has not');

# Names may hold anything; so may the sales, over more than two months.
$node->safe_psql('shop', q{
	SET search_path = customer_groups;
	UPDATE groups SET name = '<b>"Gold" & ''more''</b> ' || chr(7) || repeat('x', 60) WHERE code = 'gold';
	INSERT INTO segments (code, name, color, rule, tracked) VALUES
		('some', '되찾은 <고객>', '#123456', 'visits >= 1', true), ('none', 'None', '#654321', 'visits >= 1000', false);
	CALL fill_segments();
	DO $$ BEGIN
		PERFORM record_sale(c.id, jsonb_build_array(jsonb_build_object('item', i.id, 'quantity', 2)), at => now() - interval '100 days')
		FROM customers c, items i;
	END $$}, @$as_owner);
$page = page('shop', 'odd names');
like($page, qr/&lt;b&gt;&quot;Gold&quot; &amp; 'more'&lt;\/b&gt; \?x+ \(gold\)</, 'odd names: escaped, whole in the title');
like($page, qr/되찾은 &lt;고객&gt;/, 'odd names: in all scripts');
like($page, qr/<h2>$_<\/h2>/, "odd names: $_") for 'Sales by month', 'Segments', 'Promotions';
like($page, qr/<h3>$_<\/h3>/, "odd names: $_") for 'How they overlap', 'Size of the tracked segments';
my $discount = $node->safe_psql('shop', q{SELECT to_char(sum(discount), 'FM999,990.00') FROM customer_groups.promotion_use});
like($page, qr/<b>\Q$discount\E<\/b><span>Discount, USD</, 'odd names: the discount');

# Long lists are cut off, and say so.
unlike($page, qr/The first \d+ of/, 'odd names: nothing is cut off');
$node->safe_psql('shop', q{
	SET search_path = customer_groups;
	INSERT INTO groups (name) SELECT 'Group ' || i FROM generate_series(1, 40) AS i;
	INSERT INTO segments (name, rule) SELECT 'Segment ' || i, 'ALL' FROM generate_series(1, 30) AS i;
	INSERT INTO customers (registered_at) SELECT now() - i * interval '1 month' FROM generate_series(1, 30) AS i;
	INSERT INTO sales (customer_id, amount, sold_at) SELECT id, 1, registered_at FROM customers WHERE name IS NULL}, @$as_owner);
$page = page('shop', 'long lists');
my $groups = 0 + $node->safe_psql('shop', 'SELECT count(*) FROM customer_groups.groups', @$as_owner);
like($page, qr/The first 30 of $_\./, "long lists: $_") for "$groups, by members", '32, by position';
like($page, qr/The youngest 24 of 3[01]\./, 'long lists: cohorts');

$node->stop;
done_testing();
