# A prepared transaction that edits a promotion or sells is seen when it is committed, and not before.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

my $node = Shop::server('main');
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 5');
$node->start;
Shop::create($node, 'shop');
Shop::fill($node, 'shop');

my $price = 'SELECT discount FROM customer_groups.effective_price(NULL, 1)';
my $session = Shop::Session->new($node, 'shop');
is($session->query($price), '0.15', 'a price');

# By the session that prepares, and by another one.
for my $editor ($session, Shop::Session->new($node, 'shop'))
{
	my $who = $editor == $session ? 'the same session' : 'another session';

	is($editor->query(q{BEGIN; UPDATE customer_groups.promotions SET value = 20 WHERE id = 1; PREPARE TRANSACTION 'edit'}), '', "$who: an edit is prepared");
	is($session->query($price), '0.15', "$who: it is not seen");
	is($session->query("BEGIN; $price"), '0.15', "$who: nor in a transaction");
	is($editor == $session ? $session->query("COMMIT; COMMIT PREPARED 'edit'") : $editor->query("COMMIT PREPARED 'edit'"), '', "$who: it is committed");
	is($session->query($price), '0.30', "$who: and seen at once");
	$session->query('COMMIT') if $editor != $session;

	$editor->query(q{BEGIN; UPDATE customer_groups.promotions SET value = 90 WHERE id = 1; PREPARE TRANSACTION 'edit'});
	is($session->query($price), '0.30', "$who: another edit is not seen");
	$editor->query(q{ROLLBACK PREPARED 'edit'});
	is($session->query($price), '0.30', "$who: nor when it was rolled back");
	Shop::sql($node, 'shop', 'UPDATE customer_groups.promotions SET value = 10 WHERE id = 1');
	is($session->query($price), '0.15', "$who: an ordinary edit is seen");
}

# Other editors do not wait meanwhile, however many there are.
Shop::sql($node, 'shop', q{BEGIN; UPDATE customer_groups.promotions SET value = 20 WHERE id = 1; PREPARE TRANSACTION 'edit'});
Shop::sql($node, 'shop', q{
	SET lock_timeout = '10s';
	DO $$ BEGIN FOR i IN 1 .. 200 LOOP UPDATE customer_groups.promotions SET value = i WHERE id = 2; COMMIT; END LOOP; END $$});
is($session->query($price), '0.15', 'others edit beside it');

# A sale that is prepared holds its customer, survives a crash, and is booked once.
my $facts = 'SELECT visits, net_sales FROM customer_groups.customer_facts WHERE customer_id = 41';
is(Shop::sql($node, 'shop', $facts), '1|50', 'facts');
Shop::sql($node, 'shop', q{
	BEGIN; INSERT INTO customer_groups.sales (customer_id, amount) VALUES (41, 7); DELETE FROM customer_groups.members WHERE customer_id = 41;
	PREPARE TRANSACTION 'sale'});
is(Shop::sql($node, 'shop', $facts), '1|50', 'facts while a sale is prepared');
Shop::sound($node, 'shop', 'sound while a sale is prepared');
like($session->query(q{SET lock_timeout = '100ms'; INSERT INTO customer_groups.sales (customer_id, amount) VALUES (41, 1)}),
	qr/ERROR:  canceling statement due to lock timeout/, 'its customer is locked');
is($session->query('INSERT INTO customer_groups.sales (customer_id, amount) VALUES (40, 1)'), '', 'others are not');
$node->stop('immediate');
$node->start;
is(Shop::sql($node, 'shop', $facts), '1|50', 'after a crash the sale is still prepared');
is(Shop::sql($node, 'shop', $price), '0.15', 'and so is the edit');
Shop::sql($node, 'shop', q{COMMIT PREPARED 'sale'});
Shop::sql($node, 'shop', q{COMMIT PREPARED 'edit'});
is(Shop::sql($node, 'shop', $facts), '2|57', 'then it is booked');
is(Shop::sql($node, 'shop', $price), '0.30', 'and the edit is seen');
Shop::sql($node, 'shop', 'INSERT INTO customer_groups.sales (customer_id, amount) VALUES (41, 100)');
is(Shop::sql($node, 'shop', $facts), '3|157', 'and the next sale too');
Shop::sound($node, 'shop', 'and it is sound');

$node->stop;
done_testing();
