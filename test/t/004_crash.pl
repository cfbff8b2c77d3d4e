# After a crash, what was committed is there with its facts, tiers and prices, and nothing of what was not.
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

my $price = 'SELECT discount FROM customer_groups.effective_price(NULL, 1)';
is(Shop::sql($node, 'shop', $price), '0.15', 'a price before');

for my $round (1 .. 2)
{
	Shop::sql($node, 'shop', q{
		INSERT INTO customer_groups.sales (customer_id, amount) SELECT id, 300 FROM customer_groups.customers;
		UPDATE customer_groups.sales SET amount = amount + 1 WHERE kind = 'product' AND id % 4 = 0;
		DELETE FROM customer_groups.sales WHERE kind = 'pass' AND id % 4 = 1;
		UPDATE customer_groups.promotions SET value = value + 10 WHERE id = 1;
	});
	my $contents = Shop::contents($node, 'shop');

	my $session = Shop::Session->new($node, 'shop');
	is($session->query(q{
			BEGIN;
			INSERT INTO customer_groups.sales (customer_id, amount) SELECT id, 5000 FROM customer_groups.customers;
			UPDATE customer_groups.promotions SET value = 99 WHERE id = 1;
			SELECT discount FROM customer_groups.effective_price(NULL, 1)}),
		'1.00', "crash $round: one session is in the midst of something");
	$session->send('SELECT pg_sleep(600)');
	$node->stop('immediate');
	$node->start;

	# Sequences may be ahead of what they were.
	my $without_sequences = sub { join "\n", grep { !/_seq\|/ } split /\n/, shift };
	ok($without_sequences->(Shop::contents($node, 'shop')) eq $without_sequences->($contents),
		"crash $round: what was committed is there, and no more");
	Shop::sound($node, 'shop', "crash $round: it is sound");
	is(Shop::sql($node, 'shop', $price), $round == 1 ? '0.30' : '0.45', "crash $round: the price is that of the last commit");
	Shop::sql($node, 'shop', q{
		INSERT INTO customer_groups.sales (customer_id, amount) SELECT id, 1 FROM customer_groups.customers;
		UPDATE customer_groups.promotions SET value = value WHERE id = 1});
	Shop::sound($node, 'shop', "crash $round: and it stays sound");
	is(Shop::sql($node, 'shop', $price), $round == 1 ? '0.30' : '0.45', "crash $round: an edit that changes nothing");
}

$node->stop;
done_testing();
