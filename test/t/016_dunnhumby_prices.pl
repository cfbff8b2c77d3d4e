# Real campaigns as promotions for the households in them, on the products of their coupons: 5,000 random prices and the carts of real baskets are
# what a plain query says.
#
# The files are not part of the project: they are looked for in ../shared/data/dunnhumby beside the tree.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IO::Uncompress::Gunzip;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

my $data = ($ENV{CUSTOMER_GROUPS_TREE} // '.') . '/../shared/data/dunnhumby';
plan skip_all => 'the campaigns are not there' if !-r "$data/campaigns.csv.gz";

my $dir = PostgreSQL::Test::Utils::tempdir;

# Some columns of a file without quotes and blanks in its values, for \copy.
sub unpack_columns
{
	my ($name, @columns) = @_;
	my $gz = IO::Uncompress::Gunzip->new("$data/$name.csv.gz") or die "$name: $!";
	open my $out, '>', "$dir/$name" or die "$name: $!";
	my $header = <$gz>;
	while (my $line = <$gz>)
	{
		$line =~ s/["\r\n]//g;
		print $out join("\t", (split /,/, $line)[@columns]), "\n";
	}
	close $out or die "$name: $!";
	return;
}
unpack_columns('campaign_descriptions', 0, 2, 3);
unpack_columns('campaigns', 0, 1);
unpack_columns('coupons', 2, 1);
# Household, basket, product, quantity, value, day.
unpack_columns('transactions_sample', 0, 2, 3, 4, 5, 10);

my $node = Shop::server('main');
$node->append_conf('postgresql.conf', "fsync = off\ntimezone = 'UTC'");
$node->start;
Shop::create($node, 'shop');

Shop::sql($node, 'shop', 'CREATE SCHEMA plain');

sub sql
{
	my ($sql) = @_;
	return Shop::sql($node, 'shop', "SET search_path = plain;\n$sql");
}

# A product's price is the highest that was paid for one.
sql(qq{
	CREATE TABLE campaigns (id text PRIMARY KEY, from_day date, until_day date);
	CREATE TABLE households (campaign text, household text, PRIMARY KEY (household, campaign));
	CREATE TABLE coupons (campaign text, product text);
	CREATE TABLE lines (household text, basket text, product text, quantity numeric, value numeric, at timestamptz);
	\\copy campaigns FROM '$dir/campaign_descriptions'
	\\copy households FROM '$dir/campaigns'
	\\copy coupons FROM '$dir/coupons'
	\\copy lines FROM '$dir/transactions_sample'
	DELETE FROM lines WHERE quantity = 0 OR value = 0;
	CREATE TABLE prices AS SELECT product, max(round(value / quantity, 2)) AS price FROM lines GROUP BY product;
	CREATE INDEX ON prices (product);
	CREATE TABLE covered AS SELECT DISTINCT campaign, product FROM coupons JOIN prices USING (product);
	CREATE INDEX ON covered (product);
	ANALYZE campaigns, households, lines, prices, covered;

	INSERT INTO customer_groups.customers (external_id) SELECT household FROM households UNION SELECT household FROM lines ORDER BY 1;
	INSERT INTO customer_groups.items (external_id, name, price) SELECT product, product, price FROM prices ORDER BY product;
	INSERT INTO customer_groups.groups (code, name, starts_on, ends_on) SELECT id, id, from_day, until_day FROM campaigns ORDER BY id::int;
	INSERT INTO customer_groups.members (customer_id, group_id)
	SELECT c.id, g.id FROM households AS h
	JOIN customer_groups.customers AS c ON c.external_id = h.household
	JOIN customer_groups.groups AS g ON g.code = h.campaign;
	INSERT INTO customer_groups.promotions (code, name, kind, value, groups_only) SELECT id, id, 'percent', 10, true FROM campaigns ORDER BY id::int;
	INSERT INTO customer_groups.promotion_groups SELECT p.id, g.id FROM customer_groups.promotions AS p JOIN customer_groups.groups AS g USING (code);
	INSERT INTO customer_groups.promotion_items
	SELECT p.id, i.id FROM covered AS v
	JOIN customer_groups.promotions AS p ON p.code = v.campaign
	JOIN customer_groups.items AS i ON i.external_id = v.product;
	ANALYZE;
});
is(sql('SELECT count(*) FROM customer_groups.promotions'), 27, 'there are 27 campaigns');
is(sql('SELECT count(*) FROM customer_groups.members'), 6589, 'with 6589 memberships');

# The plain query: the first campaign that has this household and this product on this day, and what it makes of the price, to the cent.
sql(q{
	CREATE FUNCTION expected(household text, product text, day date, OUT list_price numeric, OUT price numeric, OUT campaigns text)
		LANGUAGE sql STABLE AS $$
		SELECT p.price, CASE WHEN w.id IS NULL THEN p.price ELSE round(p.price * 0.9, 2) END,
			CASE WHEN w.id IS NULL OR round(p.price * 0.9, 2) = p.price THEN '' ELSE w.id END
		FROM prices AS p
		LEFT JOIN LATERAL (
			SELECT c.id FROM campaigns AS c
			JOIN households AS h ON h.campaign = c.id AND h.household = expected.household
			JOIN covered AS v ON v.campaign = c.id AND v.product = p.product
			WHERE expected.day BETWEEN c.from_day AND c.until_day
			ORDER BY c.id::int LIMIT 1) AS w ON true
		WHERE p.product = expected.product $$;
	CREATE FUNCTION codes(ids int[]) RETURNS text LANGUAGE sql STABLE AS $$
		SELECT coalesce(string_agg(p.code, ' ' ORDER BY a.n), '')
		FROM unnest(ids) WITH ORDINALITY AS a (id, n) JOIN customer_groups.promotions AS p ON p.id = a.id $$;
});

# Half of the products are in a campaign of the household, half of the days are in it; its first and its last day are among them.
sql(q{
	SELECT setseed(0.27);
	CREATE TABLE questions AS
	SELECT m.household, CASE WHEN random() < 0.5 THEN v.product ELSE p.product END AS product,
		CASE floor(random() * 8)
			WHEN 0 THEN c.from_day WHEN 1 THEN c.until_day WHEN 2 THEN c.from_day - 1 WHEN 3 THEN c.until_day + 1
			WHEN 4 THEN date '2016-11-01' + floor(random() * 500)::int
			ELSE c.from_day + floor(random() * (c.until_day - c.from_day + 1))::int END AS day
	FROM (SELECT h.household, h.campaign, floor(random() * (SELECT count(*) FROM covered AS v WHERE v.campaign = h.campaign)) AS nth
		  FROM households AS h ORDER BY random() LIMIT 5000) AS m
	JOIN campaigns AS c ON c.id = m.campaign
	JOIN (SELECT campaign, product, row_number() OVER (PARTITION BY campaign ORDER BY product) - 1 AS nth FROM covered) AS v USING (campaign, nth)
	CROSS JOIN LATERAL (SELECT product FROM prices OFFSET (m.nth * 37)::int % 15000 LIMIT 1) AS p;
	CREATE TABLE answers AS
	SELECT q.*, e.list_price, e.price, e.campaigns, a.list_price AS our_list_price, a.price AS our_price, codes(a.promotion_ids) AS our_campaigns
	FROM questions AS q, expected(q.household, q.product, q.day) AS e,
		customer_groups.effective_price_by_key(q.household, q.product, at => q.day + interval '15 hours') AS a;
});
is(sql('SELECT count(*) FROM answers'), 5000, '5,000 questions');
cmp_ok(sql(q{SELECT count(*) FROM answers WHERE campaigns <> ''}), '>', 1000, 'for many of them a campaign lowers the price');
is(sql(q{SELECT * FROM answers WHERE (list_price, price, campaigns) IS DISTINCT FROM (our_list_price, our_price, our_campaigns) LIMIT 10}),
	'', 'all prices and campaigns are those of the plain query');

# The baskets of a year, each household's at its time.
sql(q{
	CREATE TABLE carts AS
	SELECT b.household, b.at, b.basket, c.*
	FROM (SELECT household, basket, min(at) AS at, jsonb_agg(jsonb_build_object('item', product, 'quantity', quantity) ORDER BY product) AS lines
		  FROM lines WHERE household IN (SELECT household FROM households) GROUP BY household, basket ORDER BY count(*) DESC, basket LIMIT 2000) AS b,
		customer_groups.price_cart_by_key(b.household, b.lines, at => b.at) AS c;
});
is(sql(q{SELECT count(DISTINCT basket) FROM carts}), 2000, '2,000 baskets');
cmp_ok(sql(q{SELECT count(*) FROM carts WHERE discount > 0}), '>', 100, 'in many lines of them a campaign lowers the price');
is( sql(q{
	SELECT c.* FROM carts AS c, expected(c.household, c.item_external_id, c.at::date) AS e
	WHERE (c.list_price, c.total, c.discount, codes(c.promotion_ids))
		IS DISTINCT FROM (e.list_price, round(e.price * c.quantity, 2), round(e.list_price * c.quantity, 2) - round(e.price * c.quantity, 2), e.campaigns)
	LIMIT 10}), '', 'all lines are those of the plain query');
is( sql(q{
	SELECT basket FROM lines JOIN carts USING (basket) GROUP BY basket
	HAVING count(DISTINCT lines.ctid) <> count(DISTINCT line_no) LIMIT 10}), '', 'no line is missing');

$node->stop;
done_testing();
