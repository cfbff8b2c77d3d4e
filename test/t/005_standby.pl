# A hot standby answers prices without writing, and each session there follows replay.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

my $primary = Shop::server('primary', allows_streaming => 1);
$primary->start;
Shop::create($primary, 'shop');
Shop::fill($primary, 'shop');
$primary->backup('backup');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'max_standby_streaming_delay = -1');
$standby->start;

sub follow
{
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
	return;
}

my $price = 'SELECT customer_groups.effective_price(NULL, 1)';
my $all_prices = q{
	SELECT c.id, i.id, customer_groups.effective_price(c.id, i.id), customer_groups.effective_discount(c.id, i.id, 1),
		(SELECT jsonb_agg(p) FROM customer_groups.price_cart(c.id, jsonb_build_array(jsonb_build_object('item', i.id, 'quantity', 2))) AS p),
		(SELECT jsonb_agg(p) FROM customer_groups.effective_discounts(c.id, ARRAY[i.id, 1]) AS p),
		(SELECT jsonb_agg(p) FROM customer_groups.explain_discount(c.id, i.id) AS p)
	FROM customer_groups.customers AS c, customer_groups.items AS i ORDER BY 1, 2};

follow();
my $session = Shop::Session->new($standby, 'shop');
is($session->query('SELECT pg_is_in_recovery()'), 't', 'the standby is one');
my $ladders = q{
	SELECT c.id, l, customer_groups.tier_of(c.id, l), customer_groups.tier_progress(c.id, l)
	FROM customer_groups.customers c, unnest('{default,yearly}'::text[]) l ORDER BY c.id, l;
	SELECT * FROM customer_groups.review_tiers('yearly', true, now() + interval '20 years');
	SELECT * FROM customer_groups.tier_distribution};
is($session->query($ladders), Shop::sql($primary, 'shop', $ladders), 'tiers, progress and what a review would do');
is($session->query($price), '(1.50,0.15,1.35,{1})', 'a price');
is($session->query($all_prices), Shop::sql($primary, 'shop', $all_prices), 'all prices are those of the primary');
my $all_segments = q{
	SELECT s.*, customer_groups.segment_size(s.code), customer_groups.segment_overlap(s.code, s.code), customer_groups.segment_sql(s.code),
		ARRAY(SELECT c FROM customer_groups.segment_customers(s.code) c ORDER BY c), ARRAY(SELECT c FROM customer_groups.preview_change(s.code, 'ALL') c ORDER BY c),
		customer_groups.preview_segment('visits > 0 AND net_sales IN LAST 90 DAYS > 0'), ARRAY(SELECT c FROM customer_groups.rule_customers('visits > 0') c ORDER BY c)
	FROM customer_groups.segment_sizes() s};
my $segments = Shop::sql($primary, 'shop', $all_segments);
isnt($segments, '', 'there are segments');
is($session->query($all_segments), $segments, 'and all segments are, too');
Shop::sound($standby, 'shop', 'it is sound');
like($session->query('INSERT INTO customer_groups.sales (customer_id, amount) VALUES (1, 1)'),
	qr/ERROR:  cannot execute INSERT in a read-only transaction/, 'it takes no sale');
like($session->query('SELECT customer_groups.rebuild_facts()'),
	qr/ERROR:  cannot execute .* in a read-only transaction/, 'nor repairs anything');

Shop::sql($primary, 'shop', 'UPDATE customer_groups.promotions SET value = 20 WHERE id = 1');
follow();
is($session->query($price), '(1.50,0.30,1.20,{1})', 'a session follows an edit');

Shop::sql($primary, 'shop', q{INSERT INTO customer_groups.promotions (code, name, kind, value) VALUES ('all', 'All', 'percent', 50)});
follow();
is($session->query($price), '(1.50,0.75,0.75,{4})', 'a new promotion');

# A rollback, and a savepoint.
Shop::sql($primary, 'shop', q{
	BEGIN; UPDATE customer_groups.promotions SET value = 90; ROLLBACK;
	BEGIN; SAVEPOINT a; UPDATE customer_groups.promotions SET value = 90; ROLLBACK TO a;
	UPDATE customer_groups.promotions SET active = false WHERE code = 'all'; COMMIT});
follow();
is($session->query($price), '(1.50,0.30,1.20,{1})', 'what was rolled back is not seen');

# Uncommitted changes are replayed, but not seen before the commit is.
my $editor = Shop::Session->new($primary, 'shop');
$editor->query('BEGIN');
$editor->query('UPDATE customer_groups.promotions SET value = 30 WHERE id = 1');
Shop::sql($primary, 'shop', 'INSERT INTO customer_groups.sales (customer_id, amount) VALUES (1, 1)');
follow();
is($session->query($price), '(1.50,0.30,1.20,{1})', 'an uncommitted edit is not seen');
$session->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($session->query($price), '(1.50,0.30,1.20,{1})', 'a snapshot is taken');
$editor->query('COMMIT');
follow();
is($session->query($price), '(1.50,0.30,1.20,{1})', 'the snapshot is kept');
$session->query('COMMIT');
is($session->query($price), '(1.50,0.45,1.05,{1})', 'and the next transaction sees the commit');

# So many edits that stamps are folded, with subtransactions that overflow.
Shop::sql($primary, 'shop', q{
	DO $$ BEGIN FOR i IN 1 .. 300 LOOP
		BEGIN
			UPDATE customer_groups.promotions SET value = 10 + i % 50 WHERE id = 1;
			IF i % 3 = 0 THEN RAISE EXCEPTION 'back'; END IF;
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
	END LOOP; END $$});
follow();
is($session->query($price), Shop::sql($primary, 'shop', $price), 'after many edits');
Shop::sql($primary, 'shop', 'VACUUM customer_groups.cache_stamps');
Shop::sql($primary, 'shop', 'UPDATE customer_groups.promotions SET value = 60 WHERE id = 1');
follow();
is($session->query($price), '(1.50,0.90,0.60,{1})', 'after the removal of old stamps');
is($session->query($all_prices), Shop::sql($primary, 'shop', $all_prices), 'all prices are those of the primary');

# Promoted, it goes on by itself, in the same session.
$standby->promote;
Shop::sql($standby, 'shop', 'UPDATE customer_groups.promotions SET value = 64 WHERE id = 1');
is($session->query($price), '(1.50,0.96,0.54,{1})', 'a promoted standby is edited');
is($session->query('INSERT INTO customer_groups.sales (customer_id, amount) SELECT id, 500 FROM customer_groups.customers'),
	'', 'and sells');
Shop::sound($standby, 'shop', 'and is sound');

$session->quit;
$editor->quit;
$standby->stop;
$primary->stop;
done_testing();
