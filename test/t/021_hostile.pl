# Objects of others change nothing: planted in public, in the caller's own temporary schema, in the extension's schema when somebody
# may create there, with operators and functions that fit better than PostgreSQL's; settings of a session that change how SQL is read
# change nothing either. What is installed among them is the same to the last definition, and every road works there for every level.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;
use Traps;

my $node = Shop::server('main');
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN; CREATE ROLE shop_edit LOGIN; CREATE ROLE shop_sell LOGIN');
Shop::create($node, 'plain');

sub as_role
{
	my ($database, $role, $sql) = @_;
	my ($status, $out, $err) = $node->psql($database, $sql, extra_params => [ '-U', $role ]);
	return $err ne '' ? "$out$err" : $out;
}

# Everything that was installed, but for who owns it.
sub installed
{
	my ($database) = @_;
	return $node->safe_psql($database, q{
		SET search_path = pg_catalog;
		WITH members AS (
			SELECT d.classid, d.objid FROM pg_depend AS d JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
			WHERE e.extname = 'customer_groups' AND d.deptype = 'e'),
		tables AS (SELECT objid FROM members WHERE classid = 'pg_class'::regclass)
		SELECT x FROM (
			SELECT pg_get_functiondef(objid) || coalesce((SELECT proacl IS NULL FROM pg_proc WHERE oid = objid)::text, '') FROM members WHERE classid = 'pg_proc'::regclass
			UNION ALL SELECT pg_get_constraintdef(c.oid) || c.conname FROM pg_constraint AS c JOIN tables AS t ON t.objid = c.conrelid
			UNION ALL SELECT pg_get_triggerdef(g.oid) || g.tgenabled::text FROM pg_trigger AS g JOIN tables AS t ON t.objid = g.tgrelid WHERE NOT g.tgisinternal
			UNION ALL SELECT pg_get_indexdef(i.indexrelid) FROM pg_index AS i JOIN tables AS t ON t.objid = i.indrelid
			UNION ALL SELECT pg_get_expr(a.adbin, a.adrelid) FROM pg_attrdef AS a JOIN tables AS t ON t.objid = a.adrelid
			UNION ALL SELECT a.attrelid::regclass || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || a.attnotnull FROM pg_attribute AS a JOIN tables AS t ON t.objid = a.attrelid WHERE a.attnum > 0
			UNION ALL SELECT pg_get_viewdef(c.oid) || coalesce(c.reloptions::text, '') FROM pg_class AS c JOIN tables AS t ON t.objid = c.oid WHERE c.relkind = 'v'
			UNION ALL SELECT o.oprcode::text || o.oprrest::text || coalesce(o.oprcom::regoperator::text, '') FROM pg_operator AS o JOIN members AS m ON m.classid = 'pg_operator'::regclass AND m.objid = o.oid
			UNION ALL SELECT castsource::regtype || ' ' || casttarget::regtype || castfunc::regprocedure || castcontext::text FROM pg_cast AS c JOIN members AS m ON m.classid = 'pg_cast'::regclass AND m.objid = c.oid
		) AS all_of_it (x) ORDER BY x COLLATE "C"});
}
my $right = installed('plain');
cmp_ok(length $right, '>', 100_000, 'what a clean install is');

sub hostile
{
	my ($database) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, "GRANT CREATE ON DATABASE $database TO shop_owner, mallory; GRANT CREATE, USAGE ON SCHEMA public TO mallory");
	$node->safe_psql($database, Traps::objects('public') . Traps::names('public', ''), extra_params => [ '-U', 'mallory' ]);
	$node->safe_psql('postgres', "ALTER DATABASE $database SET search_path = public, pg_catalog");
	return;
}

# All the roads, with nothing in them that the caller's own path would resolve.
my $definitions = q{
	SET client_min_messages = error;
	INSERT INTO customer_groups.settings (currency, timezone, enroll_many) VALUES ('EUR', 'Asia/Seoul', true);
	SELECT customer_groups.grant_access('shop_edit', 'edit'), customer_groups.grant_access('shop_sell', 'sell')};
my $editing = q{
	SET client_min_messages = error;
	INSERT INTO customer_groups.stores (code, name) VALUES ('s1', 'One');
	INSERT INTO customer_groups.stores (name, currency) VALUES ('Seoul', 'KRW');
	INSERT INTO customer_groups.brands (name) VALUES ('Acme');
	INSERT INTO customer_groups.categories (code, name, parent_id) VALUES ('all', 'All', NULL), ('cups', 'Cups', 1);
	INSERT INTO customer_groups.items (external_id, name, brand_id, price, min_price) VALUES ('cup', 'Cup', 1, 10, 1), ('pot', 'Pot', NULL, 20, NULL);
	INSERT INTO customer_groups.item_categories VALUES (1, 2), (2, 1);
	INSERT INTO customer_groups.store_prices VALUES (1, 2, 9000, NULL);
	INSERT INTO customer_groups.ladders (code, name, measure, period, downgrade) VALUES ('yearly', 'Yearly', 'visits', '1 year', 'at_review');
	INSERT INTO customer_groups.groups (code, name, ladder, upgrade_threshold, self_enroll)
	VALUES ('silver', 'Silver', 'default', 10, false), ('gold', 'Gold', NULL, 100, false), ('regular', 'Regular', 'yearly', 2, false), ('club', 'Club', NULL, NULL, true), ('team', 'Team', NULL, NULL, true);
	INSERT INTO customer_groups.customers (external_id, name, email, birth_date, attributes) VALUES ('ann', 'Ann', 'ann@example.com', '2000-02-29', '{"city": "Seoul"}'), ('ben', 'Ben', NULL, NULL, '{}');
	SELECT customer_groups.load_default_segments();
	INSERT INTO customer_groups.segments (code, name, tracked, rule) VALUES ('many', 'Many', true, 'visits >= 1 AND member OF ''club'' OR NOT (net_sales IN LAST 9 DAYS < 5)'),
		('cups', 'Cups', true, 'bought CATEGORY ''all'' >= 1 AND attribute ''city'' = ''Seoul'' AND (birthday IN THIS MONTH OR registered WITHIN 30 DAYS) AND NOT in SEGMENT ''dormant'''),
		('tiers', 'Tiers', true, 'tier OF ''default'' = ''gold'' OR days_since(last_visit) >= 3 OR average_sale BETWEEN 1 AND 1e6 OR bought ITEM ''pot'' IN LAST 3 DAYS >= 1');
	SELECT customer_groups.add_member(1, 'club'), customer_groups.add_member_by_key('ben', 'club', '2099-12-31'), customer_groups.enroll(2, '{team}');
	SELECT customer_groups.add_members('team', '{1,2}'), customer_groups.remove_members('team', '{1}'), customer_groups.move_members('{2}', 'team', 'club');
	SELECT customer_groups.add_members_by_email('team', E'Ann <ANN@example.com>; nobody@example.com\nxx'), customer_groups.set_groups(1, '{club,silver}');
	SELECT customer_groups.set_store_pricing('club', 1, false), customer_groups.set_store_pricing('club', 1, NULL);
	INSERT INTO customer_groups.promotions (code, name, kind, value, groups_only) VALUES ('p1', 'Cups', 'percent', 10, false), ('p2', 'Club', 'amount', 2.5, true);
	INSERT INTO customer_groups.promotion_categories VALUES (1, 1);
	SELECT customer_groups.attach_promotions('club', '{p2}'), customer_groups.set_group_discount('team', 'percent', 5, NULL, '{1}', '{cups}', NULL);
	INSERT INTO customer_groups.promotion_segments VALUES (2, 11);
	CALL customer_groups.fill_segments();
};
my $selling = q{
	SET client_min_messages = error;
	INSERT INTO customer_groups.sales (customer_id, store_id, amount, external_id) VALUES (1, 1, 12, 'till-1'), (1, NULL, 3, 'till-2'), (2, NULL, 1, NULL);
	INSERT INTO customer_groups.sales (customer_id, store_id, amount, rate) VALUES (1, 2, 200000, 0.0007);
	SELECT customer_groups.record_sale(1, '[{"item": 1, "quantity": 2}, {"item": 2}]', external_id => 'k1'), customer_groups.record_sale_by_key('ben', '[{"item": "cup"}]');
	SELECT customer_groups.record_sale(1, '[{"item": 1, "quantity": 2}, {"item": 2}]', external_id => 'k1');
	SELECT customer_groups.record_refund(1, 5, '[{"item": 1}]', external_id => 'k2'), customer_groups.record_refund(1, 5);
};
my $asking = q{
	SELECT customer_groups.effective_discount(1, 1), customer_groups.effective_price(1, 1, 2, 3, 4), customer_groups.effective_discount_by_key('ann', 'pot');
	SELECT * FROM customer_groups.effective_discounts(2, '{1,2}');
	SELECT promotion_id, verdict, discount, reason FROM customer_groups.explain_discount(1, 1);
	SELECT * FROM customer_groups.price_cart(1, '[{"item": 1, "quantity": 2}]');
	SELECT * FROM customer_groups.segments_of(1); SELECT * FROM customer_groups.labels_of('{1,2}');
	SELECT customer_groups.segment_customers('many'), customer_groups.rule_customers('visits >= 1'); SELECT * FROM customer_groups.segment_sizes();
	SELECT * FROM customer_groups.segment_overlap('many', 'cups'); SELECT * FROM customer_groups.preview_segment('ALL'); SELECT * FROM customer_groups.preview_change('many', 'visits > 2');
	SELECT group_code, source FROM customer_groups.groups_of(1); SELECT customer_id, source FROM customer_groups.members_of('club'); SELECT group_code FROM customer_groups.groups_of(1, pg_catalog.clock_timestamp());
	SELECT customer_groups.tier_of(1), customer_groups.tier_progress(1), customer_groups.tier_progress(2, 'yearly');
	SELECT code FROM customer_groups.find_groups('cLu'); SELECT customer_id, group_codes, labels FROM customer_groups.search_customers('');
	SELECT group_code, promotion_code FROM customer_groups.group_promotions; SELECT * FROM customer_groups.group_stores; SELECT code FROM customer_groups.enrollable_groups;
	SELECT promotion_code, sales, units, discount FROM customer_groups.promotion_use; SELECT code, joins, leaves FROM customer_groups.segment_changes; SELECT code, size FROM customer_groups.segment_history;
	SELECT customer_id, group_code, source FROM customer_groups.member_history; SELECT customer_id, visits, net_sales FROM customer_groups.recomputed_facts; SELECT * FROM customer_groups.line_refunds;
};
my $changing = q{
	SET client_min_messages = error;
	SELECT customer_groups.advance_segments(pg_catalog.now()), customer_groups.review_tiers('yearly'), customer_groups.review_tiers('default', true);
	UPDATE customer_groups.members SET valid_until = '2098-01-01';
	UPDATE customer_groups.customers SET birth_date = '1999-01-01', attributes = '{"city": "Busan"}';
	UPDATE customer_groups.categories SET parent_id = NULL;
	UPDATE customer_groups.promotions SET value = 5;
	SELECT customer_groups.detach_promotions('club', '{p2}'), customer_groups.delete_group('team'), customer_groups.remove_member(1, 'club');
	CALL customer_groups.fill_segments(1)};
my $owning = q{
	SET client_min_messages = error;
	UPDATE customer_groups.sales SET sold_at = '2020-02-02 12:00:00+00';
	UPDATE customer_groups.settings SET rounding = 'half_even', timezone = 'UTC';
	CALL customer_groups.fill_segments();
	SELECT customer_groups.rebuild_facts(), customer_groups.purge_events('2001-01-01'), customer_groups.revoke_access('shop_sell');
	SELECT customer_groups.forget_customer(2); DELETE FROM customer_groups.promotion_segments};

# Runs them all; returns what was answered, which must be the same everywhere.
sub roads
{
	my ($database, $before) = @_;
	my $answers = '';
	for my $road ([ 'shop_owner', $definitions ], [ 'shop_edit', $editing ], [ 'shop_sell', $selling ], [ 'shop_edit', $asking ], [ 'shop_sell', $asking ],
		[ 'shop_edit', $changing ], [ 'shop_owner', $asking ], [ 'shop_owner', $owning ], [ 'shop_owner', $asking ],
		[ 'shop_owner', 'UPDATE customer_groups.ladders SET code = \'annual\'; SELECT * FROM customer_groups.check_integrity(); SELECT kind, customer_id, group_id, segment_id, promotion_id, actor FROM customer_groups.events' ])
	{
		my ($role, $sql) = @$road;
		$answers .= "-- $role\n" . as_role($database, $role, "$before $sql") . "\n";
	}
	return $answers;
}

my $answers = roads('plain', '');
unlike($answers, qr/ERROR/, 'all roads work in a clean database');
cmp_ok(length $answers, '>', 5000, 'and answer');

# Among the traps, by an unprivileged owner.
hostile('hostile');
like(as_role('hostile', 'shop_owner', q{SELECT 1 * 1::pg_catalog.numeric}), qr/TRAP: operator/, 'the traps are set');
like(as_role('hostile', 'shop_owner', q{SELECT cardinality(ARRAY['a'::pg_catalog.text])}), qr/TRAP: function/, 'for functions too');
is(as_role('hostile', 'shop_owner', 'CREATE EXTENSION customer_groups'), '', 'the extension is created among the traps');
is(installed('hostile'), $right, 'and is what it is without them');
is(roads('hostile', ''), $answers, 'all roads lead to the same answers');

# With tables and types in the caller's own temporary schema, named first on its path.
hostile('temporary');
is(as_role('temporary', 'shop_owner', Traps::names('pg_temp', 'TEMPORARY') . 'SET search_path = pg_temp, public, pg_catalog; CREATE EXTENSION customer_groups'), '', 'created by a session with temporary objects');
is(installed('temporary'), $right, 'and is what it is without them');
$node->safe_psql('temporary', 'GRANT TEMPORARY ON DATABASE temporary TO PUBLIC');
is(roads('temporary', Traps::names('pg_temp', 'TEMPORARY') . 'SET search_path = pg_temp, public, pg_catalog;'), $answers, 'all roads lead to the same answers');

# By a superuser, and read otherwise.
hostile('superuser');
is($node->safe_psql('superuser', "$Traps::odd_settings CREATE EXTENSION customer_groups"), '', 'created by a superuser whose session reads SQL otherwise');
is(installed('superuser'), $right, 'and is what it is in others');
$node->safe_psql('superuser', 'DROP EXTENSION customer_groups; DROP SCHEMA customer_groups; GRANT CREATE ON DATABASE superuser TO shop_owner');
is(as_role('superuser', 'shop_owner', "$Traps::odd_settings CREATE EXTENSION customer_groups"), '', 'and by an unprivileged owner');
is(installed('superuser'), $right, 'the same');
my $shown_plainly = 'SET DateStyle = ISO; SET extra_float_digits = 1;';
is(roads('superuser', "$Traps::odd_settings $shown_plainly SET standard_conforming_strings = off;"), $answers, 'all roads lead to the same answers');

# Where the owner lets others create in the extension's schema.
$node->safe_psql('postgres', 'CREATE DATABASE shared');
$node->safe_psql('postgres', 'GRANT CREATE ON DATABASE shared TO shop_owner');
Shop::sql($node, 'shared', 'CREATE EXTENSION customer_groups; GRANT CREATE, USAGE ON SCHEMA customer_groups TO mallory');
is(as_role('shared', 'mallory', Traps::objects('customer_groups') =~ s/SET client_min_messages = error;//r), '', 'traps in the schema itself');
is(roads('shared', ''), $answers, 'all roads lead to the same answers');

# A schema of somebody else, who could put objects into it while the script runs.
$node->safe_psql('postgres', 'CREATE DATABASE prepared');
$node->safe_psql('postgres', 'GRANT CREATE ON DATABASE prepared TO shop_owner, mallory');
is(as_role('prepared', 'mallory', 'CREATE SCHEMA customer_groups; GRANT ALL ON SCHEMA customer_groups TO PUBLIC'), '', 'an empty schema of another role');
like(as_role('prepared', 'shop_owner', "\\set VERBOSITY verbose\nCREATE EXTENSION customer_groups"),
	qr/ERROR:  55000: schema "customer_groups" belongs to another role.*DETAIL:  Its owner is mallory.*HINT:  Drop the schema/s, 'is refused');
$node->safe_psql('prepared', 'DROP SCHEMA customer_groups');
is(as_role('prepared', 'shop_owner', 'CREATE SCHEMA customer_groups; CREATE EXTENSION customer_groups'), '', 'one of the owner is taken');

$node->stop;
done_testing();
