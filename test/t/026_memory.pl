# A backend's memory stays flat: many calls of the reading functions, sales, edits and errors in one backend, some of the errors
# caught in subtransactions, while another one edits what it has cached.  CUSTOMER_GROUPS_CALLS says how many calls.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

my $calls = $ENV{CUSTOMER_GROUPS_CALLS} // 10_000;
my $node = Shop::server('main');
$node->append_conf('postgresql.conf', 'autovacuum = off', 'fsync = off', 'synchronous_commit = off', 'jit = off');
$node->start;
Shop::create($node, 'shop');
Shop::fill($node, 'shop');
$node->safe_psql('postgres', 'GRANT pg_read_all_stats TO shop_owner');

my $reader = Shop::Session->new($node, 'shop');
my $editor = Shop::Session->new($node, 'shop');
$_->query('SET search_path = customer_groups; SET client_min_messages = error') for $reader, $editor;

# Runs a statement, which is to fail with this SQLSTATE or not at all.
sub run
{
	my ($session, $sql, $state) = @_;
	my $result = $session->query("\\set VERBOSITY sqlstate\n$sql");
	my ($error) = $result =~ /^psql:.*(?:ERROR|FATAL): +(\w+)/m;
	die("$sql\n$result") if ($error // '') ne ($state // '');
	return $result;
}

# Each with the number of calls that it makes.
my @questions = (
	[ 200, 'SELECT count(p.price) FROM generate_series(1, 200) AS i, effective_price(1 + i % 41, 1 + i % 20, CASE i % 3 WHEN 0 THEN 1 WHEN 1 THEN 2 END, i % 4 + 1) AS p' ],
	[ 200, 'SELECT sum(effective_discount(CASE WHEN i % 5 > 0 THEN 1 + i % 41 END, 1 + i % 20, order_value => i)) FROM generate_series(1, 200) AS i' ],
	[ 50, 'SELECT sum(price) FROM generate_series(1, 50) AS i, effective_discounts(1 + i % 41, ARRAY[1, 2, 3, 20, NULL, 5], 1)' ],
	[ 50, 'SELECT count(reason) FROM generate_series(1, 50) AS i, explain_discount(1 + i % 41, 1 + i % 20)' ],
	[ 100, q{SELECT sum(total) FROM generate_series(1, 100) AS i, price_cart(1 + i % 41, format('[{"item": %s, "quantity": 0.35}, {"item": 7, "quantity": 2}]', 1 + i % 20)::jsonb, 1)} ],
	[ 20, q{SELECT sum(total) FROM generate_series(1, 20) AS i, price_cart_by_key('c-' || 1 + i % 40, '[{"item": "item-3", "quantity": 1}]')} ],
	[ 100, 'SELECT count(code) FROM generate_series(1, 100) AS i, segments_of(1 + i % 41)' ],
	[ 50, 'SELECT count(labels) FROM generate_series(1, 50) AS i, labels_of(ARRAY[1 + i % 41, 3, NULL, 4])' ],
	[ 100, q{SELECT count(*) FILTER (WHERE in_segment(1 + i % 41, 'lately')) FROM generate_series(1, 100) AS i} ],
	[ 100, q{SELECT count(*) FILTER (WHERE matches(1 + i % 41, format('visits >= %s AND NOT member OF ''club''', i)::segment_rule)) FROM generate_series(1, 100) AS i} ],
	[ 1, q{SELECT segment_size('lately')} ],
	[ 1, 'SELECT sum(size) FROM segment_sizes()' ],
	[ 1, q{SELECT count(*) FROM preview_change('many', 'visits > 1 OR in SEGMENT ''cups''')} ],
	[ 5, 'SELECT count(t) FROM generate_series(1, 5) AS i, tier_progress(i) AS t' ],
	[ 1, 'SELECT effective_price(1, 999)', '02000' ],
	[ 1, q{SELECT count(*) FROM price_cart(1, '[{"item": 1, "quantity": 1}, {"item": 2, "quantity": -1}]')}, '22023' ],
	[ 1, q{SELECT matches(1, 'visits >= 3 AND (bought ITEM ''item-1'' > ')}, '22P02' ],
	[ 3, q{
		BEGIN;
		UPDATE promotions SET value = value + 1 WHERE code = 'ten';
		SELECT effective_price(1, 1);
		SAVEPOINT s;
		UPDATE segments SET rule = 'ALL' WHERE code = 'many';
		SELECT segments_of(1), effective_price(1, 2);
		ROLLBACK TO s;
		SELECT segments_of(1), effective_price(1, 2);
		ROLLBACK} ],
	[ 4, q{
		BEGIN;
		SELECT record_sale(i, '[{"item": 3, "quantity": 2}, {"item": 4, "quantity": 1.5}]', 1) FROM generate_series(1, 3) AS i;
		INSERT INTO sales (customer_id, amount) SELECT 1 + i % 41, 100 * i FROM generate_series(1, 30) AS i;
		SELECT add_member(30, 'club');
		SELECT advance_segments();
		ROLLBACK} ],
	[ 4, q{
		DO $$
		DECLARE
			before bigint;
		BEGIN
			FOR i IN 1 .. 300 LOOP
				INSERT INTO sales (customer_id, amount) VALUES (1 + i % 41, i);
				IF i = 50 THEN
					SELECT used_bytes INTO before FROM pg_backend_memory_contexts WHERE name = 'TopTransactionContext';
				END IF;
			END LOOP;
			-- An ended statement leaves nothing to the transaction, but a few bytes of the server's own.
			ASSERT before + 250 * 40 > (SELECT used_bytes FROM pg_backend_memory_contexts WHERE name = 'TopTransactionContext');
			RAISE 'undone';
		EXCEPTION WHEN raise_exception THEN NULL;
		END $$} ],
	[ 50, q{
		DO $$
		DECLARE
			question text;
			failed int := 0;
		BEGIN
			FOR i IN 1 .. 5 LOOP
				FOREACH question IN ARRAY ARRAY[
					'SELECT effective_price(1, 999)',
					'SELECT effective_discounts(1, ARRAY[1, 2, 999])',
					'SELECT price_cart(1, ''[{"item": 1, "quantity": 1}, {"item": 2, "quantity": 0}]'')',
					'SELECT price_cart(1, ''[{"item": 1, "quantity": 1}, {"unknown": [2, {"a": 1}]}]'')',
					'SELECT labels_of(ARRAY[1, 2, 999])',
					'SELECT segments_of(999)',
					'SELECT matches(1, ''visits >= 3 AND (bought ITEM "item-1" > '')',
					'SELECT record_sale(1, ''[{"item": 3, "quantity": 2}, {"item": 999, "quantity": 1}]'')',
					'INSERT INTO sales (customer_id, amount) SELECT i, 100 - i FROM generate_series(1, 200) AS i',
					'INSERT INTO segments (code, name, rule) VALUES (''round'', ''Round'', ''in SEGMENT round'')']
				LOOP
					BEGIN
						EXECUTE question;
					EXCEPTION WHEN OTHERS THEN
						failed := failed + 1;
					END;
				END LOOP;
			END LOOP;
			ASSERT failed = 50;
		END $$} ]);

# What these leave behind is what they found.
my @edits = (
	q{UPDATE promotions SET value = value + 1 WHERE code = 'ten'},
	q{INSERT INTO promotions (code, name, kind, value) VALUES ('more', 'More', 'percent', 20);
	  INSERT INTO promotion_items SELECT id, 1 FROM promotions WHERE code = 'more';
	  INSERT INTO promotion_categories SELECT id, 2 FROM promotions WHERE code = 'more'},
	q{UPDATE groups SET use_pricing = false WHERE code = 'club'},
	q{UPDATE segments SET rule = 'visits >= 3' WHERE code = 'many'; CALL fill_segments()},
	q{SELECT attach_promotion('gold', 'more')},
	q{INSERT INTO segments (code, name, rule) VALUES ('more', 'More', 'in SEGMENT ''cups'' AND visits > 2')},
	q{ANALYZE promotions, customers, items, members, customer_facts, segments, groups},
	q{UPDATE categories SET parent_id = NULL WHERE code = 'cups'},
	q{INSERT INTO groups (code, name, upgrade_threshold) VALUES ('diamond', 'Diamond', 5000)},
	q{UPDATE stores SET timezone = 'Europe/London' WHERE code = 'berlin'},
	q{ALTER TABLE customers SET (fillfactor = 90); ALTER TABLE promotions SET (fillfactor = 90)},
	q{DELETE FROM promotions WHERE code = 'more'},
	q{UPDATE categories SET parent_id = 1 WHERE code = 'cups'},
	q{UPDATE stores SET timezone = 'Europe/Berlin' WHERE code = 'berlin'},
	q{UPDATE groups SET use_pricing = true WHERE code = 'club'},
	q{DELETE FROM segments WHERE code = 'more'},
	q{UPDATE segments SET rule = 'visits >= 4' WHERE code = 'many'; CALL fill_segments()},
	q{DELETE FROM groups WHERE code = 'diamond'},
	q{ALTER TABLE customers RESET (fillfactor); ALTER TABLE promotions RESET (fillfactor)},
	q{UPDATE promotions SET value = value - 1 WHERE code = 'ten'});

my $calls_of_cycle = 0;
$calls_of_cycle += $_->[0] * @edits for @questions;

sub cycle
{
	foreach my $edit (@edits)
	{
		run($editor, $edit);
		run($reader, $_->[1], $_->[2]) for @questions;
	}
	return;
}

my $pid = $reader->query('SELECT pg_backend_pid()') + 0;
my $made = 0;

# What the memory contexts of the reader hold, and the sum; the process's private memory too, which the system tells
# on Linux.
sub memory
{
	my %contexts = map { /^(.*)\|(\d+)$/ ? ($1 => $2) : () } split /\n/, run($reader, q{
		SELECT name, translate(coalesce(left(ident, 60), ''), E'\n\t|', '   '), sum(used_bytes) FROM pg_backend_memory_contexts GROUP BY 1, 2});
	my $sum = 0;
	$sum += $_ for values %contexts;
	my ($private) = -r "/proc/$pid/status" ? slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m : ();
	note("after $made calls: $sum bytes used in memory contexts" . (defined $private ? ", $private kB private" : ''));
	return ($sum, $private, \%contexts);
}

# The first cycles fill the caches, the server's among them.
cycle() for 1 .. 2;
my ($before, $private_before, $contexts_before) = memory();
my ($after, $private_after, $contexts_after);
for my $goal ($calls * 0.1, $calls * 0.5, $calls)
{
	next if $made >= $goal;
	for (; $made < $goal; $made += $calls_of_cycle) { cycle() }
	($after, $private_after, $contexts_after) = memory();
}

cmp_ok($after, '<=', $before + 16 * 1024, 'memory contexts hold what they did') or do
{
	diag("$_: " . ($contexts_before->{$_} // 0) . " to $contexts_after->{$_} bytes")
		for grep { $contexts_after->{$_} > ($contexts_before->{$_} // 0) } sort keys %$contexts_after;
};
SKIP:
{
	skip 'private memory is not told', 1 unless defined $private_after;
	cmp_ok($private_after, '<=', $private_before * 1.1, 'and the process has no more memory');
}
$_->quit for $reader, $editor;
Shop::sound($node, 'shop', 'and the shop is as it should be');
$node->stop;
done_testing();
