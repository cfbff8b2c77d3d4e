# Logical replication of all tables: the subscriber has the same rows, counts nothing twice, prices what its apply worker has
# applied, and keeps stamps of its own.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

my $publisher = Shop::server('publisher', allows_streaming => 'logical');
$publisher->start;
my $subscriber = Shop::server('subscriber', allows_streaming => 'logical');
$subscriber->start;
Shop::create($_, 'shop') for ($publisher, $subscriber);

# The publisher's stamps can be told from the subscriber's.
$publisher->safe_psql('shop', q{SELECT setval('customer_groups.cache_stamps_stamp_seq', 1000000)});
Shop::fill($publisher, 'shop');
$publisher->safe_psql('shop', 'CREATE PUBLICATION everything FOR ALL TABLES');
my $session = Shop::Session->new($subscriber, 'shop');
my $price = 'SELECT customer_groups.effective_price(NULL, 1)';
like($session->query($price), qr/ERROR:  unknown item/, 'the subscriber has nothing yet');
$subscriber->safe_psql('shop', sprintf q{CREATE SUBSCRIPTION everything CONNECTION '%s' PUBLICATION everything},
	$publisher->connstr('shop') =~ s/'/''/gr);
$subscriber->wait_for_subscription_sync($publisher, 'everything', 'shop') if $subscriber->can('wait_for_subscription_sync');
$subscriber->poll_query_until('shop', q{SELECT count(*) = 0 FROM pg_subscription_rel WHERE srsubstate NOT IN ('r', 's')});
$publisher->wait_for_catchup('everything');

sub same
{
	my ($name) = @_;
	my $without_sequences = sub { join "\n", grep { !/_seq\|/ } split /\n/, shift };
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$publisher->wait_for_catchup('everything');
	ok($without_sequences->(Shop::contents($subscriber, 'shop')) eq $without_sequences->(Shop::contents($publisher, 'shop')),
		"$name: the rows are the same");
	Shop::sound($subscriber, 'shop', "$name: the subscriber is sound");
	is($session->query($price), Shop::sql($publisher, 'shop', $price), "$name: the price is the same");
	return;
}

same('first copy');
is($session->query($price), '(1.50,0.15,1.35,{1})', 'which is no accident');

Shop::sql($publisher, 'shop', 'UPDATE customer_groups.promotions SET value = 20 WHERE id = 1');
$publisher->wait_for_catchup('everything');
is($session->query($price), '(1.50,0.30,1.20,{1})', 'an edit is followed');
same('after an edit');

Shop::sql($publisher, 'shop', q{
	INSERT INTO customer_groups.promotions (code, name, kind, value) VALUES ('all', 'All', 'percent', 50);
	DELETE FROM customer_groups.promotion_items WHERE promotion_id = 1 AND item_id = 1;
	UPDATE customer_groups.settings SET rounding = 'half_up';
	INSERT INTO customer_groups.sales (customer_id, amount) SELECT id, 500 FROM customer_groups.customers;
	UPDATE customer_groups.sales SET amount = amount + 1 WHERE kind = 'product';
	DELETE FROM customer_groups.sales WHERE kind = 'pass';
	DELETE FROM customer_groups.members WHERE customer_id = 4;
	DELETE FROM customer_groups.groups WHERE code = 'regular'});
$publisher->wait_for_catchup('everything');
is($session->query($price), '(1.50,0.75,0.75,{4})', 'so are others');
same('after sales');

Shop::sql($publisher, 'shop', 'TRUNCATE customer_groups.promotion_items, customer_groups.promotion_stores');
$publisher->wait_for_catchup('everything');
same('after TRUNCATE');

# So many that the publisher folds its stamps.
Shop::sql($publisher, 'shop', q{DO $$ BEGIN FOR i IN 1 .. 300 LOOP UPDATE customer_groups.promotions SET value = 20 + i % 50 WHERE id = 4; COMMIT; END LOOP; END $$});
same('after many edits');

is($subscriber->safe_psql('shop', 'SELECT count(*) FROM customer_groups.cache_stamps WHERE stamp >= 1000000 OR EXISTS (SELECT FROM unnest(folded) AS f WHERE f >= 1000000)'),
	'0', 'no stamp came from the publisher');
is($publisher->safe_psql('shop', 'SELECT count(*) FROM customer_groups.cache_stamps WHERE stamp < 1000000'), '0', 'where they are others');
cmp_ok($subscriber->safe_psql('shop', 'SELECT count(*) FROM customer_groups.cache_stamps'), '>', 0, 'the subscriber left its own');
cmp_ok($subscriber->safe_psql('shop', 'SELECT count(*) FROM customer_groups.cache_stamps'), '<', 500, 'and folds them');

# Segments, refunds, the rest of the tables.
Shop::sql($publisher, 'shop', q{
	CALL customer_groups.fill_segments();
	SELECT customer_groups.advance_segments(now() + interval '3 days');
	SELECT customer_groups.record_sale(21, '[{"item": 3, "quantity": 2}]', 1, external_id => 'cart-2');
	SELECT customer_groups.record_refund(21, (SELECT id FROM customer_groups.sales WHERE external_id = 'cart-2'));
	SELECT customer_groups.purge_events(now() - interval '1 second')});
same('segments and refunds');

is($publisher->safe_psql('shop', q{
		SELECT string_agg(c.relname, ' ') FROM pg_class AS c
		LEFT JOIN pg_publication_tables AS p ON p.schemaname = 'customer_groups' AND p.tablename = c.relname
		LEFT JOIN pg_index AS i ON i.indrelid = c.oid AND i.indisprimary
		WHERE c.relnamespace = 'customer_groups'::regnamespace AND c.relkind = 'r' AND (p.pubname IS NULL OR i.indexrelid IS NULL)}),
	'', 'every table is published and has a primary key, by which changes find their rows');

# ---------------------------------------------------------------------------------------------
# The subscriber takes over, as docs/operations.md says; the publisher is lost to it, and shows what would have happened there
# ---------------------------------------------------------------------------------------------

# Ids that only the log still knows.
Shop::sql($publisher, 'shop', q{
	INSERT INTO customer_groups.customers (id) VALUES (60);
	INSERT INTO customer_groups.groups (id, name) VALUES (60, 'Sixty');
	INSERT INTO customer_groups.members (customer_id, group_id) VALUES (60, 60);
	DELETE FROM customer_groups.customers WHERE id = 60;
	DELETE FROM customer_groups.groups WHERE id = 60;
	SELECT setval('customer_groups.customers_id_seq', 60), setval('customer_groups.groups_id_seq', 60)});
same('before it takes over');
$_->safe_psql('postgres', 'CREATE ROLE seller LOGIN') for $publisher, $subscriber;
$subscriber->safe_psql('shop', 'ALTER SUBSCRIPTION everything DISABLE; ALTER SUBSCRIPTION everything SET (slot_name = NONE); DROP SUBSCRIPTION everything');
my ($recipe) = slurp_file("$FindBin::RealBin/../../docs/operations.md") =~ /```sql\n(DO .*?)```/s;
Shop::sql($subscriber, 'shop', $recipe);
my $last_sale = Shop::sql($publisher, 'shop', 'SELECT max(id) FROM customer_groups.sales');
my $last_event = Shop::sql($publisher, 'shop', 'SELECT max(id) FROM customer_groups.events');
my @next = map {
	my $node = $_;
	Shop::sql($node, 'shop', q{SELECT customer_groups.grant_access('seller', 'sell')});
	$node->safe_psql('shop', q{INSERT INTO customer_groups.sales (customer_id, amount) VALUES (22, 1000), (23, 5)}, extra_params => [ '-U', 'seller' ]);
	Shop::sql($node, 'shop', qq{
		INSERT INTO customer_groups.customers (name) VALUES ('New');
		INSERT INTO customer_groups.groups (name) VALUES ('New');
		INSERT INTO customer_groups.promotions (name, kind, value) VALUES ('New', 'percent', 70);
		INSERT INTO customer_groups.sales (customer_id, amount) VALUES (61, 2000);
		INSERT INTO customer_groups.segments (name, rule, tracked) VALUES ('New', 'visits > 0 AND days_since(last_visit) < 2', true);
		CALL customer_groups.fill_segments();
		SELECT customer_groups.record_sale(61, '[{"item": 3}]', external_id => 'cart-1');
		SELECT customer_groups.advance_segments(now() + interval '12 days');
		SELECT customer_id, visits, net_sales FROM customer_groups.customer_facts WHERE customer_id IN (22, 23, 61) ORDER BY 1;
		SELECT id - $last_event, kind, customer_id, group_id, segment_id FROM customer_groups.events WHERE id > $last_event ORDER BY id;
		SELECT min(id) FROM customer_groups.sales WHERE id > $last_sale});
} $publisher, $subscriber;
like($next[0], qr/^\d+\|$_\|/m, "the next sales and days lead to $_") for 'tier_upgraded', 'segment_entered', 'segment_left';
is($next[1], $next[0], 'to the same as on the publisher, where it would have gone on, with the same ids');
is($session->query($price), '(1.50,1.00,0.50,{5})', 'an edit counts in a session that was there before');
Shop::sound($subscriber, 'shop', 'the subscriber is sound on its own');

$session->quit;
$publisher->safe_psql('postgres', q{SELECT pg_drop_replication_slot('everything')});
$_->stop for $subscriber, $publisher;
done_testing();
