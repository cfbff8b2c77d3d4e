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

$session->quit;
$subscriber->safe_psql('shop', 'DROP SUBSCRIPTION everything');
$subscriber->stop;
$publisher->stop;
done_testing();
