# What takes long is cancelled (57014) by pg_cancel_backend and by statement_timeout, and leaves nothing half done: check_integrity()
# finds nothing, and the same call made afterwards, left to its end, does all of it.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

my $node = Shop::server('main');
$node->append_conf('postgresql.conf', "autovacuum = off\nfsync = off");
$node->start;
Shop::create($node, 'shop');
Shop::sql($node, 'shop', q{
	SET search_path = customer_groups;
	INSERT INTO items (external_id, name, price) SELECT 'i-' || i, 'Item ' || i, 10 FROM generate_series(1, 20) AS i;
	INSERT INTO brands (code, name) VALUES ('none', 'None');
	INSERT INTO ladders (code, name, measure, downgrade) VALUES ('visits', 'Visits', 'visits', 'at_review');
	INSERT INTO groups (id, code, name, ladder, upgrade_threshold) VALUES (1, 'club', 'Club', NULL, NULL), (2, 'often', 'Often', 'visits', 1000), (3, 'top', 'Top', 'visits', 2000), (4, 'team', 'Team', NULL, NULL);
	INSERT INTO promotions (name, kind, value) SELECT 'P' || i, 'percent', i FROM generate_series(1, 50) AS i;
	INSERT INTO customers (external_id, name, email, birth_date) SELECT 'c-' || i, 'Customer ' || i, i || '@example.com', date '1970-01-01' + i % 10000 FROM generate_series(1, 3000) AS i;
	INSERT INTO sales (customer_id, amount, sold_at) SELECT id, 10, now() - interval '10 days' FROM customers;
	INSERT INTO segments (code, name, tracked, rule) VALUES ('seen', 'Seen', true, 'visits >= 1 AND days_since(last_visit) < 11'), ('born', 'Born', true, 'birthday TODAY OR net_sales IN LAST 10 DAYS > 1');
	CALL fill_segments();
	SELECT advance_segments();
	UPDATE groups SET upgrade_threshold = 1 WHERE id = 2;
	ANALYZE});

my $session = Shop::Session->new($node, 'shop');
$session->query('SET application_name = long');
$session->query('\set VERBOSITY sqlstate');
my $other = Shop::Session->new($node, 'shop');
my $waiting = 'pg_stat_activity WHERE application_name = \'long\' AND state = \'active\'';

# What a statement gives that another session cancels, so many milliseconds after it has begun.
sub cancelled
{
	my ($call, $ms) = @_;
	$other->send("DO \$\$ BEGIN WHILE NOT EXISTS (SELECT FROM $waiting) AND clock_timestamp() < now() + interval '5 seconds' LOOP PERFORM pg_stat_clear_snapshot(), pg_sleep(0.001); END LOOP;
		PERFORM pg_sleep($ms / 1000.0), pg_cancel_backend(pid) FROM $waiting; END \$\$");
	my $result = $session->query($call);
	$other->query('SELECT 1');
	return $result;
}

sub timed_out
{
	my ($call, $ms) = @_;
	$session->query("SET statement_timeout = $ms");
	my $result = $session->query($call);
	$session->query('RESET statement_timeout');
	return $result;
}

# What a statement gives that is ended. Where the machine is faster, it is taken back and ended sooner.
sub ended
{
	my ($end, $call) = @_;
	my $result;
	for my $ms (20, 5, 1)
	{
		$session->query('BEGIN');
		$result = $end->($call, $ms);
		$session->query('ROLLBACK');
		last if $result =~ /ERROR:  57014/;
	}
	return $result;
}

my $cart = q{(SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('item', 1 + i % 20, 'quantity', 1)) FROM pg_catalog.generate_series(1, 10000) AS i)};
$node->safe_psql('shop', 'COPY (SELECT 1 + i % 3000, 5 FROM generate_series(1, 10000) AS i) TO ' . "'" . $node->basedir . "/sales.csv'");
my $cart_by_key = $cart =~ s/'item', (1 \+ i % 20)/'item', 'i-' || $1/r;
my $everybody = 'ARRAY(SELECT id FROM customer_groups.customers)';
my $often = 'FROM generate_series(1, 1000) AS i, LATERAL customer_groups.';
my $members = 'SELECT count(*) FROM customer_groups.members WHERE group_id = ';
my $copy = "\\copy customer_groups.sales (customer_id, amount) FROM '" . $node->basedir . "/sales.csv'";

# What takes long, and what tells whether it has been done: before and after it was left to its end. Without the latter it only reads.
my @cases = (
	[ 'review_tiers', q{SELECT count(*) FROM customer_groups.review_tiers('visits')}, q{SELECT count(*) FROM customer_groups.members WHERE group_id = 2}, '0', '3000' ],
	[ 'a dry run', "SELECT count(*) ${often}review_tiers('visits', true, now() + i * interval '1 day')" ],
	[ 'advance_segments', q{SELECT customer_groups.advance_segments(now() + interval '1 day')}, q{SELECT count(*) FROM customer_groups.segment_members WHERE segment_id = 1}, '3000', '0' ],
	[ 'add_members', "SELECT customer_groups.add_members('club', $everybody)", "$members 1", '0', '3000' ],
	[ 'move_members', "SELECT customer_groups.move_members($everybody, 'club', 'team')", "$members 4", '0', '3000' ],
	[ 'remove_members', "SELECT customer_groups.remove_members('team', $everybody)", "$members 4", '3000', '0' ],
	[ 'add_members_by_email', q{SELECT count(*) FROM customer_groups.add_members_by_email('team', (SELECT string_agg(email, ',') FROM customer_groups.customers))}, "$members 4", '0', '3000' ],
	[ 'delete_group', q{SELECT customer_groups.delete_group('team')}, "$members 4", '3000', '0' ],
	[ 'an UPDATE of customers', q{UPDATE customer_groups.customers SET birth_date = birth_date + 1}, q{SELECT count(*) FROM customer_groups.customers WHERE id > 1 AND birth_date = date '1970-01-01' + id::int + 1}, '0', '2999' ],
	[ 'rebuild_facts', q{SELECT customer_groups.rebuild_facts()} ],
	[ 'track_customers', "SELECT customer_groups.track_customers($everybody) FROM generate_series(1, 1000)" ],
	[ 'lock_customers', "SELECT count(*) FROM (SELECT customer_groups.lock_customers($everybody) FROM generate_series(1, 1000) OFFSET 0) AS l" ],
	[ 'COPY of sales', $copy, q{SELECT count(*) FROM customer_groups.sales WHERE amount = 5}, '0', '10000' ],
	[ 'an UPDATE of sales', q{UPDATE customer_groups.sales SET amount = 6 WHERE amount = 5}, q{SELECT count(*) FROM customer_groups.sales WHERE amount = 6}, '0', '10000' ],
	[ 'record_sale', qq{SELECT total FROM customer_groups.record_sale(1, $cart, external_id => 'long')}, q{SELECT count(*) FROM customer_groups.sale_lines}, '0', '10000' ],
	[ 'record_refund', q{SELECT total FROM customer_groups.record_refund(1, (SELECT id FROM customer_groups.sales WHERE external_id = 'long'), external_id => 'back')}, q{SELECT count(*) FROM customer_groups.sale_lines}, '10000', '20000' ],
	[ 'price_cart', qq{SELECT count(*) ${often}price_cart(i, $cart)} ],
	[ 'price_cart_by_key', qq{SELECT count(*) ${often}price_cart_by_key('c-' || i, $cart_by_key)} ],
	[ 'effective_discounts', "SELECT count(*) ${often}effective_discounts(i, ARRAY(SELECT 1 + i % 20 FROM generate_series(1, 1000) AS i))" ],
	[ 'effective_discounts_by_key', "SELECT count(*) ${often}effective_discounts_by_key('c-' || i, ARRAY(SELECT 'i-' || 1 + i % 20 FROM generate_series(1, 1000) AS i))" ],
	[ 'explain_discount', "SELECT count(*) ${often}explain_discount(i, 1)" ],
	[ 'labels_of', "SELECT count(*) ${often}labels_of(ARRAY(SELECT id + 0 * i FROM customer_groups.customers))" ],
	[ 'segment_customers', "SELECT count(*) ${often}segment_customers('born', now() + i * interval '1 day')" ],
	[ 'rule_customers', "SELECT count(*) ${often}rule_customers('NOT (net_sales IN LAST 30 DAYS > 1)', now() + i * interval '1 day')" ],
	[ 'segment_size', "SELECT sum(customer_groups.segment_size('born', now() + i * interval '1 day')) FROM generate_series(1, 1000) AS i" ],
	[ 'segment_sizes', "SELECT count(*) ${often}segment_sizes(now() + i * interval '1 day')" ],
	[ 'segment_overlap', "SELECT count(*) ${often}segment_overlap('born', 'seen', now() + i * interval '1 day')" ],
	[ 'preview_segment', "SELECT count(*) ${often}preview_segment('net_sales IN LAST 30 DAYS > 1', now() + i * interval '1 day')" ],
	[ 'preview_change', "SELECT count(*) ${often}preview_change('born', 'net_sales IN LAST 30 DAYS > 1', now() + i * interval '1 day')" ],
	[ 'search_customers', "SELECT count(*) ${often}search_customers('customer ' || i % 10)" ],
	[ 'members_of', "SELECT count(*) ${often}members_of('club', now() - i * interval '1 microsecond')" ],
	[ 'find_groups', "SELECT count(*) FROM generate_series(1, 100000) AS i, LATERAL customer_groups.find_groups('club' || i % 2)" ],
	[ 'check_integrity', q{SELECT count(*) FROM customer_groups.check_integrity()} ],
	[ 'purge_events', q{SELECT customer_groups.purge_events(now())} ]);

# All other functions look at one customer, item, promotion, group or value, or call one of these and nothing else that is long.
my %short = map { $_ => 1 } qw(report_progress is_timezone month_day currency_digits is_money settings_currency settings_timezone earliest_today rule_rename shop_today was_valid search_form
	forget_customer promotions_now say_of_promotions window_end name_subject level_grants included_levels check_owner check_role apply_level grant_access revoke_access
	load_default_segments set_store_pricing promotion_id_of attach_promotions attach_promotion detach_promotions detach_promotion set_group_discount
	add_member remove_member set_groups may_enroll_many enroll add_member_by_key read_cart priced_lines record_sale_by_key part_of refund_sale is_same_refund
	rule_names segments_of segments_of_by_key in_segment matches segment_sql effective_discount effective_price effective_discount_by_key effective_price_by_key
	group_id_of check_customers check_horizon groups_of customer_id_of tier_of tier_progress);
my %long = map { $_ => 1 } 'fill_segments', map { $_->[1] =~ /customer_groups\.(\w+)\(/g } @cases;
is(join(' ', grep { !$short{$_} && !$long{$_} } split /\n/, $node->safe_psql('shop', q{
		SELECT DISTINCT p.proname FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'customer_groups') AND p.prorettype <> 'trigger'::regtype AND p.proname !~ '^segment_rule_'})),
	'', 'every function is known to be short, or is tried');

for my $case (@cases)
{
	my ($name, $call, $state, $before, $after) = @$case;
	is(Shop::sql($node, 'shop', $state), $before, "$name: not yet done") if $state;
	like(ended(\&timed_out, $call), qr/ERROR:  57014/, "$name ends by statement_timeout");
	like(ended(\&cancelled, $call), qr/ERROR:  57014/, "$name ends by pg_cancel_backend");
	next if !$state;
	is(Shop::sql($node, 'shop', $state), $before, "$name: nothing is done");
	Shop::sound($node, 'shop', "$name: nothing is left half done");
	unlike($session->query($call), qr/ERROR/, "$name is done when it is left to its end");
	is(Shop::sql($node, 'shop', $state), $after, 'all of it');
}

# fill_segments() commits its batches: what it has done stays, and the segment pending until all is done.
Shop::sql($node, 'shop', q{UPDATE customer_groups.segments SET rule = 'visits >= 2' WHERE code = 'seen'});
my $pending = q{SELECT pending_since IS NOT NULL FROM customer_groups.segments WHERE code = 'seen'};
# It cannot come to its end meanwhile: somebody holds the last customer.
my $holder = Shop::Session->new($node, 'shop');
$holder->query('BEGIN; SELECT FROM customer_groups.customer_facts WHERE customer_id = 3000 FOR UPDATE');
for my $end (\&timed_out, \&cancelled)
{
	like($end->('CALL customer_groups.fill_segments(100)', 20), qr/ERROR:  57014/, 'fill_segments ends when asked to');
	is(Shop::sql($node, 'shop', $pending), 't', 'the segment is still pending');
	Shop::sound($node, 'shop', 'and nothing else is wrong');
}
$holder->query('ROLLBACK');
is($session->query('CALL customer_groups.fill_segments(2147483647)'), '', 'in one batch, to the end');
is(Shop::sql($node, 'shop', $pending), 'f', 'it is filled');
is(Shop::sql($node, 'shop', q{SELECT count(*) FROM customer_groups.segment_members WHERE segment_id = 1}), '3000', 'with all of them');
Shop::sound($node, 'shop', 'and all is right');
for my $bad ([ '0', '22023' ], [ '-1', '22023' ], [ '-2147483648', '22023' ], [ 'NULL', '22004' ])
{
	like($session->query("CALL customer_groups.fill_segments($bad->[0])"), qr/ERROR:  $bad->[1]/, "a batch of $bad->[0]");
}

$_->quit for ($session, $other, $holder);
$node->stop;
done_testing();
