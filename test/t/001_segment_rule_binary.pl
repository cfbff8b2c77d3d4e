# The binary form of segment_rule: COPY BINARY gives every rule back, and refuses what is damaged.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE shop_owner LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE shop OWNER shop_owner');

my @as_owner = (extra_params => [ '-U', 'shop_owner' ]);
my $file = PostgreSQL::Test::Utils::tempdir . '/rules.bin';

$node->safe_psql('shop', q{
	CREATE EXTENSION customer_groups;
	CREATE TABLE stored (id int, rule customer_groups.segment_rule);
	CREATE TABLE received (LIKE stored);
	INSERT INTO stored VALUES
		(1, 'ALL'),
		(2, 'NOT (member OF ''wholesale'') AND net_sales IN LAST 90 DAYS >= 300'),
		(3, 'average_sale = 1.5e3 OR average_sale = 1E-2 OR average_sale = -0'),
		(4, 'visits BETWEEN 1 AND 2 OR visits IN LAST 30 DAYS IN (1, 2)'),
		(5, 'first_visit IN (''2024-02-29'', DATE ''2000-02-29'') OR days_since(last_visit) >= 180'),
		(6, 'birthday WITHIN NEXT 7 DAYS OR birthday IN MONTH 05'),
		(7, 'bought CATEGORY ''shoes'' IN LAST 365 DAYS >= 2 OR bought ITEM ''sku-7'' >= 0.350'),
		(8, 'in SEGMENT ''it''''s'' OR member OF ''한국''''고객'' OR attribute ''city'' = ''서울'''),
		(9, 'tier OF ''b2b'' IN (''gold'', ''silver'')'),
		(10, 'attribute ''letters'' = true OR attribute ''letters'' <> FALSE OR attribute ''letters'' IN (true, false)');
	-- long enough to be toasted
	INSERT INTO stored SELECT 11, ('member OF ''' || string_agg(md5(i::text), ' ') || '''')::customer_groups.segment_rule
	FROM generate_series(1, 1900) i;
}, @as_owner);

# copy_over(FROM): copies a table in binary through a file into "received"; returns psql's error.
sub copy_over
{
	my ($from) = @_;
	my ($status, $out, $err) = $node->psql('shop',
		"\\copy $from TO '$file' (FORMAT binary)\n\\copy received FROM '$file' (FORMAT binary)\n",
		@as_owner);
	return $err;
}

is(copy_over('stored'), '', 'rules are copied in binary');
is( $node->safe_psql('shop', q{
		SELECT count(*), count(*) FILTER (WHERE s.rule OPERATOR(customer_groups.=) r.rule AND s.rule::text = r.rule::text)
		FROM stored s JOIN received r USING (id)}, @as_owner),
	'11|11', 'and come back the same');

# damaged(BYTES, PATTERN, NAME)
$node->safe_psql('shop', 'CREATE TABLE bytes (id int, rule bytea)', @as_owner);
sub damaged
{
	my ($bytes, $pattern, $name) = @_;
	$node->safe_psql('shop', "TRUNCATE bytes; INSERT INTO bytes VALUES (1, $bytes)", @as_owner);
	like(copy_over('bytes'), $pattern, $name);
}

damaged(q{'\x02' || 'ALL'::bytea},
	qr/ERROR:  unsupported segment_rule version number: 2\nDETAIL:  This server reads version 1\./,
	'another version is refused');
damaged(q{'\x01' || 'ALL BUT ONE'::bytea},
	qr/ERROR:  invalid input syntax for type segment_rule: "ALL BUT ONE"\nDETAIL:  Unknown word "BUT" at character 5\.\nHINT:  Expected the end or AND or OR\./,
	'so is what is no rule');
damaged(q{'\x01' || 'attribute ''letters'' > true'::bytea},
	qr/DETAIL:  true and false are not compared by ">" at character 21\./, 'and true and false in order');
damaged(q{'\x01414c4c00'}, qr/ERROR:  invalid byte sequence for encoding "UTF8": 0x00/, 'a zero byte');
damaged(q{'\x01414cff'}, qr/ERROR:  invalid byte sequence for encoding "UTF8": 0xff/, 'other bytes that are no text');
damaged(q{'\x01'}, qr/ERROR:  invalid input syntax for type segment_rule: ""/, 'a version without a text');
damaged(q{''}, qr/ERROR:  no data left in message/, 'nothing');
is($node->safe_psql('shop', 'SELECT count(*) FROM received', @as_owner), '11', 'nothing of these was stored');

$node->stop;
done_testing();
