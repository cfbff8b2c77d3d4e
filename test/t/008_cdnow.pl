# A real purchase log, loaded at once, backwards, row by row and changed at random: the facts are those that others have computed, and
# the default segments those that queries written by hand find; and in date order, with tiers reviewed monthly: the tiers are those of
# a plain query.
#
# The log is not part of the project: it is looked for in ../shared/data/cdnow beside the tree. CUSTOMER_GROUPS_TREE names the tree where the
# tests run in a copy of it.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IO::Uncompress::Gunzip;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

my $data = ($ENV{CUSTOMER_GROUPS_TREE} // '.') . '/../shared/data/cdnow';
plan skip_all => 'the log is not there' if !-r "$data/CDNOW_master.txt.gz";

# The log as [customer, day, dollars].
my @log;
my $gz = IO::Uncompress::Gunzip->new("$data/CDNOW_master.txt.gz") or die "CDNOW_master.txt.gz: $!";
while (my $line = <$gz>)
{
	my (undef, $customer, $day, undef, $dollars) = split /\s+/, " $line";
	push @log, [ $customer + 0, $day, $dollars ] if $customer =~ /^\d+$/;
}
close $gz;
is(scalar @log, 69659, 'the log is complete');

my $node = Shop::server('main');
$node->start;
Shop::create($node, 'shop');
my $dir = PostgreSQL::Test::Utils::tempdir;

sub write_file
{
	my ($name, @lines) = @_;
	open my $file, '>', "$dir/$name" or die "$name: $!";
	print $file map { "$_\n" } @lines;
	close $file or die "$name: $!";
	return "$dir/$name";
}

sub facts_are
{
	my ($name, $expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( Shop::sql($node, 'shop', q{
			SELECT count(*) FILTER (WHERE visits > 0), sum(visits), trim_scale(sum(net_sales)),
				min(first_visit_at)::date, max(last_visit_at)::date FROM customer_groups.customer_facts}),
		$expected, "$name: customers, visits, sum and dates");
	Shop::sound($node, 'shop', "$name: nothing to find");
	return;
}
my $whole = '23570|69659|2500315.63|1997-01-01|1998-06-30';
my $columns = 'customer_groups.sales (customer_id, sold_at, amount)';

Shop::sql($node, 'shop', q{
	ALTER ROLE shop_owner SET timezone = 'UTC';
	INSERT INTO customer_groups.groups (code, name, upgrade_threshold) VALUES ('bronze', 'Bronze', 50), ('silver', 'Silver', 200), ('gold', 'Gold', 1000);
	INSERT INTO customer_groups.customers (id) SELECT generate_series(1, 23570)});
my $tiers = q{
	SELECT g.code, count(*) FROM customer_groups.members m JOIN customer_groups.groups g ON g.id = m.group_id GROUP BY 1 ORDER BY 1};
my $by_hand = q{
	SELECT CASE WHEN sum >= 1000 THEN 'gold' WHEN sum >= 200 THEN 'silver' ELSE 'bronze' END, count(*)
	FROM (SELECT sum(amount) FROM customer_groups.sales GROUP BY customer_id) s WHERE sum >= 50 GROUP BY 1 ORDER BY 1};

# At once.
my $file = write_file('log', map { join "\t", @$_ } @log);
Shop::sql($node, 'shop', "\\copy $columns FROM '$file'");
facts_are('at once', $whole);
is(Shop::sql($node, 'shop', $tiers), Shop::sql($node, 'shop', $by_hand), 'at once: the tiers');

# A tenth changed and a tenth deleted, at random.
Shop::sql($node, 'shop', q{
	SELECT setseed(0.25);
	UPDATE customer_groups.sales SET amount = round(amount * 1.1, 2), sold_at = sold_at - interval '1 day' * (id % 30) WHERE random() < 0.1;
	UPDATE customer_groups.sales SET kind = 'prepaid' WHERE random() < 0.02;
	DELETE FROM customer_groups.sales WHERE random() < 0.1});
Shop::sound($node, 'shop', 'a fifth changed: nothing to find');
is( Shop::sql($node, 'shop', 'SELECT sum(net_sales) FROM customer_groups.customer_facts'),
	Shop::sql($node, 'shop', 'SELECT sum(amount) FROM customer_groups.sales'), 'a fifth changed: the sum');
Shop::sql($node, 'shop', 'DELETE FROM customer_groups.sales');
is( Shop::sql($node, 'shop', q{
		SELECT count(*) FROM customer_groups.customer_facts
		WHERE (visits, net_sales, prepaid_purchases) = (0, 0, 0) AND first_visit_at IS NULL AND last_visit_at IS NULL}),
	'23570', 'all deleted');
Shop::sql($node, 'shop', 'DELETE FROM customer_groups.members');

# Backwards, as a statement for each month.
my %months;
push @{ $months{ substr $_->[1], 0, 6 } }, join "\t", @$_ for @log;
Shop::sql($node, 'shop', join "\n",
	map { "\\copy $columns FROM '" . write_file("month$_", reverse @{ $months{$_} }) . "'" } reverse sort keys %months);
facts_are('backwards', $whole);
is(Shop::sql($node, 'shop', $tiers), Shop::sql($node, 'shop', $by_hand), 'backwards: the tiers');

# The default segments as of the day after the log. What the log has not: birthdays, registrations on the day of the first purchase,
# prepaid cards and no-shows, which take the place of some purchases.
Shop::sql($node, 'shop', q{
	UPDATE customer_groups.sales SET kind = CASE WHEN id % 40 = 0 THEN 'prepaid' WHEN id % 40 = 1 THEN 'pass' ELSE 'no_show' END::customer_groups.sale_kind
	WHERE id % 40 < 3;
	UPDATE customer_groups.customers c SET birth_date = date '1930-01-01' + (c.id * 7 % 20000)::int,
		registered_at = (SELECT min(s.sold_at) FROM customer_groups.sales s WHERE s.customer_id = c.id) + interval '1 day' * (c.id % 500);
	SELECT customer_groups.load_default_segments(vip_sales => 500)});
my $at = q{timestamptz '1998-07-01 10:00+00'};
Shop::sql($node, 'shop', qq{
	CREATE SCHEMA segments;
	CREATE TABLE segments.by_hand AS
	WITH purchases AS (
		SELECT c.id, c.birth_date, c.registered_at::date AS registered, count(*) FILTER (WHERE s.kind = 'product') AS visits, sum(s.amount) AS net_sales,
			count(*) FILTER (WHERE s.kind IN ('prepaid', 'pass')) AS cards, count(*) FILTER (WHERE s.kind = 'no_show') AS no_shows,
			date '1998-07-01' - max(s.sold_at::date) FILTER (WHERE s.kind = 'product') AS days
		FROM customer_groups.customers c JOIN customer_groups.sales s ON s.customer_id = c.id GROUP BY c.id)
	SELECT 'all' AS code, id FROM purchases
	UNION ALL SELECT 'members', id FROM purchases WHERE cards > 0
	UNION ALL SELECT 'non_members', id FROM purchases WHERE cards = 0
	UNION ALL SELECT 'new', id FROM purchases WHERE visits >= 1 AND registered BETWEEN '1998-06-01' AND '1998-07-01'
	UNION ALL SELECT 'blacklist', id FROM purchases WHERE no_shows >= 1
	UNION ALL SELECT 'vip', id FROM purchases WHERE net_sales >= 500 AND visits >= 10
	UNION ALL SELECT 'dormant', id FROM purchases WHERE days >= 180
	UNION ALL SELECT 'win_back', id FROM purchases WHERE visits >= 2 OR days >= 30
	UNION ALL SELECT 'birthday', id FROM purchases WHERE extract(month FROM birth_date) = 7
	UNION ALL SELECT 'first_visit', id FROM purchases WHERE visits = 0 AND registered BETWEEN '1998-06-01' AND '1998-07-01'});
is( Shop::sql($node, 'shop', q{SELECT count(DISTINCT code) FROM segments.by_hand}), '10', 'each default segment has somebody');
Shop::sql($node, 'shop', qq{
	CREATE TABLE segments.compiled AS SELECT s.code, c.id FROM customer_groups.segments s, customer_groups.segment_customers(s.code, $at) c (id);
	CREATE TABLE segments.interpreted AS SELECT s.code, c.id FROM customer_groups.segments s, customer_groups.customers c
		WHERE customer_groups.in_segment(c.id, s.code, $at)});
for my $way ('compiled', 'interpreted')
{
	is( Shop::sql($node, 'shop', qq{(TABLE segments.$way EXCEPT TABLE segments.by_hand) UNION ALL (TABLE segments.by_hand EXCEPT TABLE segments.$way) LIMIT 10}), '',
		"the default segments, $way, are the queries written by hand");
}
is( Shop::sql($node, 'shop', qq{SELECT code, size FROM customer_groups.segment_sizes($at) ORDER BY code COLLATE "C"}),
	Shop::sql($node, 'shop', q{SELECT code, count(*) FROM segments.by_hand GROUP BY code ORDER BY code COLLATE "C"}), 'and so are their sizes');
Shop::sql($node, 'shop', 'DELETE FROM customer_groups.segments');
Shop::sql($node, 'shop', 'DELETE FROM customer_groups.sales; DELETE FROM customer_groups.members');

# Row by row: a tenth of the log, whose customers have other ids.
open my $sample, '<', "$data/CDNOW_sample.txt" or die "CDNOW_sample.txt: $!";
my @sample = map { [ (split /\s+/, " $_")[ 2, 3, 5 ] ] } <$sample>;
close $sample;
is(scalar @sample, 6919, 'the tenth is complete');
Shop::sql($node, 'shop', join "\n",
	map { "INSERT INTO $columns VALUES ($_->[0], '$_->[1]', $_->[2]);" } grep { $_->[1] <= 19970930 } @sample);
Shop::sound($node, 'shop', 'row by row: nothing to find');
is(Shop::sql($node, 'shop', $tiers), Shop::sql($node, 'shop', $by_hand), 'row by row: the tiers');

# What others computed from it, up to 30 September 1997: weeks from the first visit to the last one and to that day, from the
# facts; the number of other days with a purchase and what was spent on one of them, from the sales.
Shop::sql($node, 'shop', q{CREATE SCHEMA oracle;
	CREATE TABLE oracle.summary (id bigint, frequency int, recency numeric, age numeric);
	CREATE TABLE oracle.spent (id bigint, frequency int, recency numeric, age numeric, mean numeric)});
Shop::sql($node, 'shop', "\\copy oracle.summary FROM '$data/cdnow_customers_summary.csv' (FORMAT csv, HEADER)\n"
	  . "\\copy oracle.spent FROM '$data/cdnow_customers_summary_with_transactions.csv' (FORMAT csv, HEADER)");
is(Shop::sql($node, 'shop', 'SELECT count(*) FROM oracle.summary JOIN oracle.spent USING (id)'), '2357', 'the answers are complete');
is( Shop::sql($node, 'shop', q{
		SELECT o.id, o.recency, o.age, f.first_visit_at, f.last_visit_at FROM oracle.summary o
		LEFT JOIN customer_groups.customer_facts f ON f.customer_id = o.id
		WHERE (abs((f.last_visit_at::date - f.first_visit_at::date) / 7.0 - o.recency) <= 0.0051
			AND abs((date '1997-09-30' - f.first_visit_at::date) / 7.0 - o.age) <= 0.0051) IS NOT TRUE LIMIT 10}),
	'', 'first and last visits are theirs');
is( Shop::sql($node, 'shop', q{
		SELECT o.id, o.frequency, o.mean, d.days, d.mean
		FROM oracle.spent o
		LEFT JOIN (
			SELECT customer_id, count(*) - 1 AS days, coalesce(avg(spent) FILTER (WHERE place > 1), 0) AS mean
			FROM (SELECT customer_id, sum(amount) AS spent, row_number() OVER (PARTITION BY customer_id ORDER BY sold_at::date) AS place
				FROM customer_groups.sales GROUP BY customer_id, sold_at::date) s
			GROUP BY customer_id) d ON d.customer_id = o.id
		WHERE (d.days = o.frequency AND abs(d.mean - o.mean) <= 0.0051) IS NOT TRUE LIMIT 10}),
	'', 'repeated purchases are theirs');

# In date order, a statement for each day, and two yearly ladders reviewed at each month's end: where the reviews lower without grace, a
# customer has the tier of the sum up to that day; where they do not, the highest that it has reached on any day of a sale.
Shop::sql($node, 'shop', q{
	DELETE FROM customer_groups.sales; DELETE FROM customer_groups.members; DELETE FROM customer_groups.groups;
	INSERT INTO customer_groups.ladders (code, name, measure, period, downgrade) VALUES
		('year', 'Spent in a year', 'net_sales', '1 year', 'at_review'),
		('ever', 'Spent in a year, for ever', 'net_sales', '1 year', 'never');
	INSERT INTO customer_groups.groups (code, name, ladder, upgrade_threshold, starts_on) VALUES
		('y50', 'y50', 'year', 50, '1990-01-01'), ('y100', 'y100', 'year', 100, '1990-01-01'), ('y300', 'y300', 'year', 300, '1990-01-01'),
		('e50', 'e50', 'ever', 50, '1990-01-01'), ('e100', 'e100', 'ever', 100, '1990-01-01'), ('e300', 'e300', 'ever', 300, '1990-01-01');
	CREATE TABLE oracle.held (day date, customer_id bigint, ladder text, tier text);
	CREATE TABLE oracle.moved (day date, customer_id bigint, from_tier text, to_tier text)});
my %days;
push @{ $days{ $_->[1] } }, join "\t", @$_ for @log;
my $script = '';
my $month = '199701';
my $close = sub {
	return qq{INSERT INTO oracle.moved SELECT d.day, r.* FROM (SELECT (date '${month}01' + interval '1 month - 1 day')::date AS day) d,
		unnest('{year,ever}'::text[]) AS l, customer_groups.review_tiers(l, false, d.day + interval '23:59') r;
		INSERT INTO oracle.held SELECT (date '${month}01' + interval '1 month - 1 day')::date, m.customer_id, g.ladder, g.code
		FROM customer_groups.members m JOIN customer_groups.groups g ON g.id = m.group_id;
	};
};
for my $day (sort keys %days)
{
	$script .= $close->() if substr($day, 0, 6) ne $month;
	$month = substr $day, 0, 6;
	$script .= "\\copy $columns FROM '" . write_file("day$day", @{ $days{$day} }) . "'\n";
}
$script .= $close->();
$node->safe_psql('shop', $script, @Shop::as_owner);
is(Shop::sql($node, 'shop', q{SELECT count(DISTINCT day), count(*) > 100000 FROM oracle.held}), '18|t', 'eighteen months');
is(Shop::sql($node, 'shop', q{SELECT count(*) FILTER (WHERE left(from_tier, 1) = 'y') > 1000,
	count(*) FILTER (WHERE left(coalesce(from_tier, to_tier), 1) = 'e') FROM oracle.moved}), 't|0', 'reviews that lower, and one with nothing to do');
is( Shop::sql($node, 'shop', q{
		WITH months AS (SELECT DISTINCT day FROM oracle.held),
		present AS (
			SELECT m.day, s.customer_id, sum(s.amount) FILTER (WHERE s.sold_at::date > m.day - interval '1 year') AS spent
			FROM months m JOIN customer_groups.sales s ON s.sold_at::date <= m.day GROUP BY m.day, s.customer_id),
		ever AS (
			SELECT m.day, s.customer_id, max(s.spent) AS spent
			FROM months m JOIN (
				SELECT customer_id, sold_at::date AS day, sum(amount) OVER (PARTITION BY customer_id ORDER BY sold_at::date
					RANGE BETWEEN interval '364 days' PRECEDING AND CURRENT ROW) AS spent
				FROM customer_groups.sales) s ON s.day <= m.day GROUP BY m.day, s.customer_id),
		plain AS (
			SELECT day, customer_id, 'year' AS ladder, CASE WHEN spent >= 300 THEN 'y300' WHEN spent >= 100 THEN 'y100' WHEN spent >= 50 THEN 'y50' END AS tier FROM present
			UNION ALL
			SELECT day, customer_id, 'ever', CASE WHEN spent >= 300 THEN 'e300' WHEN spent >= 100 THEN 'e100' WHEN spent >= 50 THEN 'e50' END FROM ever)
		SELECT day, customer_id, ladder, p.tier, h.tier
		FROM (SELECT * FROM plain WHERE tier IS NOT NULL) p FULL JOIN oracle.held h USING (day, customer_id, ladder)
		WHERE p.tier IS DISTINCT FROM h.tier LIMIT 10}),
	'', 'the tier of every customer at every month\'s end is that of a plain query');
Shop::sound($node, 'shop', 'reviewed monthly: nothing to find');

$node->stop;
done_testing();
