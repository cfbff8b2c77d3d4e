# A hot standby answers every reading function and view as the primary does, in parallel workers too, and
# writes nothing; each session there follows replay.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

my $primary = Shop::server('primary', allows_streaming => 1);
$primary->append_conf('postgresql.conf', 'autovacuum = off');
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

# Every function that says that it only reads, and every view, taken from the catalog: the functions are called with arguments by their
# names or else their types, and with nulls. Errors count as answers.
my %argument = (
	customer_id => '20', customer_ids => 'ARRAY[1, 20, 41]', customer_external_id => q{'c-20'}, item_id => '3', item_ids => 'ARRAY[1, 2, 3]', item_external_id => q{'item-3'},
	item_external_ids => q{ARRAY['item-1', 'item-3']}, store_id => '1', quantity => '2', order_value => '50', at => q{'2026-06-01 12:00+00'}, group_code => q{'club'},
	code => q{'lately'}, other_code => q{'many'}, segment_code => q{'lately'}, keyword => q{'1'}, ladder => q{'default'}, promotion_code => q{'ten'}, level => q{'edit'},
	name => q{'Asia/Seoul'}, currency => q{'KRW'}, sale_id => '401', refunded_id => '401', refund_id => '402', row_value => q{'{"group_id": 4}'}, kind => q{'group'},
	'customer_groups.segment_rule' => q{'visits > 1 AND bought CATEGORY ''cups'' >= 1'}, bigint => '1', 'bigint[]' => 'ARRAY[1]', integer => '1', numeric => '1.5',
	'numeric[]' => 'ARRAY[0.5]', text => q{'ten'}, boolean => 'false', date => q{'2026-02-03'}, 'timestamp with time zone' => q{'2026-06-01 12:00+00'},
	jsonb => q{'{"all": true}'}, interval => q{'1 month'}, regrole => q{'pg_monitor'});
my @functions = map { [ split /\|/, $_, -1 ] } split /\n/, $primary->safe_psql('shop', q{
	SELECT p.oid::regproc, array_to_string(p.proargnames[1:p.pronargs], ',', ''), array_to_string(p.proargtypes::regtype[], ',')
	FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'customer_groups') AND p.provolatile <> 'v' AND p.prorettype <> 'cstring'::regtype
		AND NOT p.proargtypes::oid[] && ARRAY['cstring', 'internal']::regtype[]::oid[]
	ORDER BY p.oid::regprocedure::text});
cmp_ok(scalar @functions, '>=', 60, 'there are ' . @functions . ' reading functions');
my (@calls, %unknown);
for (@functions)
{
	my ($function, $names, $types) = @$_;
	my @types = split /,/, $types;
	my @names = split /,/, $names, -1;
	my @values;
	for my $i (0 .. $#types)
	{
		my $name = $names[$i] // '';
		push @values, $name eq 'lines' ? sprintf(q{'[{"item": %s, "quantity": 2}]'}, $function =~ /by_key/ ? '"item-3"' : 3) : $argument{$name} // $argument{ $types[$i] };
		$unknown{"$function: $name $types[$i]"} = 1 if !defined $values[-1];
	}
	next if grep { !defined } @values;
	push @calls, "SELECT '$function', r::text FROM $function(" . join(', ', map { "$values[$_]::$types[$_]" } 0 .. $#types) . ') AS r ORDER BY 2';
	push @calls, "SELECT '$function', r::text FROM $function(" . join(', ', map { "NULL::$_" } @types) . ') AS r ORDER BY 2' if @types;
}
is(join(', ', sort keys %unknown), '', 'the test knows a value for each of their arguments');
my @views = split /\n/, $primary->safe_psql('shop', q{SELECT oid::regclass FROM pg_class WHERE relnamespace = 'customer_groups'::regnamespace AND relkind = 'v' ORDER BY relname});
push @calls, map { "SELECT '$_', v::text FROM $_ AS v ORDER BY 2" } @views;

sub same_answers
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my (@differ, @failing);
	follow();
	my $there = Shop::Session->new($primary, 'shop');
	my $in_workers = Shop::Session->new($standby, 'shop');
	$in_workers->query('SET ' . ($standby->pg_version < 16 ? 'force_parallel_mode' : 'debug_parallel_query') . ' = on');
	$_->query('\set SHOW_CONTEXT never') for $session, $in_workers, $there;
	my $next_xid = $there->query('SELECT pg_snapshot_xmax(pg_current_snapshot())');
	for my $call (@calls)
	{
		my ($got, $parallel, $expected) = map { $_->query($call) =~ s/^psql:<stdin>:\d+: //gmr } $session, $in_workers, $there;
		push @differ, "$call\n  $got\n  instead of\n  $expected" if $got ne $expected;
		push @differ, "$call\n  $parallel in a parallel worker\n  instead of\n  $expected" if $parallel ne $expected;
		push @failing, "$call\n  $expected" if $expected =~ /ERROR/ && $call !~ /NULL::/;
	}
	is($there->query('SELECT pg_snapshot_xmax(pg_current_snapshot())'), $next_xid, "$name: none writes, on the primary neither");
	$_->quit for $there, $in_workers;
	is(join("\n", @differ), '', "$name: all reading functions and views answer as on the primary");
	is(join("\n", @failing), '', "$name: asked for what there is, none fails");
	return;
}
same_answers('as it was copied');
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

# Rows are found where they were, and links in the index alone, only as long as that is right: pages that were visible to everybody have
# changed, items have moved, and the end of the table is gone.
my $local = Shop::Session->new($primary, 'shop');
my $tables = 'customer_groups.items, customer_groups.item_categories, customer_groups.members';
my $many = q{
	SELECT c.id, sum(d.list_price), sum(d.price), sum(customer_groups.effective_discount(c.id, d.item_id))
	FROM customer_groups.customers AS c, customer_groups.effective_discounts(c.id, ARRAY(SELECT id FROM customer_groups.items)) AS d
	WHERE c.id IN (4, 5, 12) GROUP BY c.id ORDER BY c.id};
Shop::sql($primary, 'shop', q{INSERT INTO customer_groups.items (id, name, price) SELECT n, repeat('x', 300), n FROM generate_series(1001, 1200) AS n});
Shop::sql($primary, 'shop', "VACUUM $tables");
follow();
$_->query($many) for $local, $session;
for my $change (
	'DELETE FROM customer_groups.item_categories WHERE item_id = 1',
	'INSERT INTO customer_groups.item_categories SELECT i.id, c.id FROM customer_groups.items AS i, customer_groups.categories AS c ON CONFLICT DO NOTHING',
	'DELETE FROM customer_groups.members WHERE customer_id = 4',
	'UPDATE customer_groups.items SET price = price + 1 WHERE id > 1',
	'DELETE FROM customer_groups.items WHERE id > 1000',
	'INSERT INTO customer_groups.items (id, name, price) SELECT n, n, n FROM generate_series(1200, 1001, -1) AS n',
	'UPDATE customer_groups.items SET id = id + 1000 WHERE id > 1000')
{
	Shop::sql($primary, 'shop', $change);
	follow();
	my $right = Shop::sql($primary, 'shop', $many);
	is($_->[1]->query($many), $right, "$_->[0]: $change") for [ 'primary', $local ], [ 'standby', $session ];
	my $pages = Shop::sql($primary, 'shop', q{SELECT pg_relation_size('customer_groups.items')});
	Shop::sql($primary, 'shop', "VACUUM $tables");
	follow();
	is($_->[1]->query($many), $right, "$_->[0]: and vacuumed") for [ 'primary', $local ], [ 'standby', $session ];
	isnt(Shop::sql($primary, 'shop', q{SELECT pg_relation_size('customer_groups.items')}), $pages, 'the end of the table is gone') if $change =~ /^DELETE FROM customer_groups.items/;
}
$local->quit;

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

# What the caches of that session hold follows all kinds of changes.
Shop::sql($primary, 'shop', q{
	SET search_path = customer_groups;
	UPDATE groups SET code = 'the-club', use_pricing = false WHERE code = 'club';
	UPDATE groups SET code = 'club' WHERE code = 'the-club';
	UPDATE segments SET rule = 'visits >= 2', color = '#123456' WHERE code = 'lately';
	CALL fill_segments();
	UPDATE categories SET parent_id = NULL WHERE code = 'cups';
	UPDATE stores SET timezone = 'Asia/Tokyo' WHERE id = 1;
	UPDATE settings SET rounding = 'half_up';
	INSERT INTO promotions (code, name, kind, value, groups_only) VALUES ('late', 'Late', 'amount', 1, true);
	SELECT attach_promotion('club', 'late');
	SELECT set_store_pricing('club', 1, true), add_member(20, 'club');
	INSERT INTO sales (customer_id, amount) VALUES (20, 2000)});
same_answers('after changes');

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
