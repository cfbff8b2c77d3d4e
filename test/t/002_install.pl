# CREATE EXTENSION: nothing is seeded, hostile objects of others are never called, a prepared schema and a database that is not
# UTF8 are refused, and a session outlives DROP EXTENSION and the next CREATE EXTENSION.
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
$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN');
Shop::create($node, 'shop');

# Nothing is seeded.
is( $node->safe_psql('shop', q{
		SELECT c.relname FROM pg_class AS c
		WHERE c.relnamespace = 'customer_groups'::regnamespace AND c.relkind = 'r'
		AND xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %s', c.oid::regclass), false, true, ''))::text <> '{0}'}),
	'', 'all tables of a new shop are empty');
is( $node->safe_psql('shop', q{
		SELECT s.sequencename FROM pg_sequences AS s WHERE s.schemaname = 'customer_groups' AND s.last_value IS NOT NULL}),
	'', 'and no sequence was used');
is($node->safe_psql('shop', 'SELECT count(*) FROM pg_namespace WHERE nspname !~ \'^pg_\' AND nspname NOT IN (\'information_schema\', \'public\')'),
	'1', 'it makes one schema');

# ---------------------------------------------------------------------------------------------
# Another session, and this one, across DROP EXTENSION
# ---------------------------------------------------------------------------------------------
my $some = q{
	INSERT INTO customer_groups.items (id, name, price) VALUES (1, 'Cup', 10);
	INSERT INTO customer_groups.customers (id) VALUES (1);
	INSERT INTO customer_groups.groups (id, code, name, upgrade_threshold) VALUES (1, 'gold', 'Gold', 5);
	INSERT INTO customer_groups.promotions (id, code, name, kind, value, groups_only) VALUES (1, 'p', 'P', 'percent', 10, true);
	INSERT INTO customer_groups.promotion_groups VALUES (1, 1);
	INSERT INTO customer_groups.sales (customer_id, amount) VALUES (1, 5)};
my $price = 'SELECT customer_groups.effective_discount(1, 1)';
my $one = Shop::Session->new($node, 'shop');
my $two = Shop::Session->new($node, 'shop');
is($one->query("$some; $price"), '1.00', 'a price');
is($two->query($price), '1.00', 'the same in another session');
is($one->query("BEGIN; DROP EXTENSION customer_groups; ROLLBACK; $price"), '1.00', 'after a dropped extension that was rolled back');
is($one->query("BEGIN; DROP EXTENSION customer_groups; CREATE EXTENSION customer_groups; $some; UPDATE customer_groups.promotions SET value = 50; $price"),
	'5.00', 'created anew in a transaction');
is($one->query("ROLLBACK; $price"), '1.00', 'which was rolled back');
is($one->query('DROP EXTENSION customer_groups'), '', 'the extension is dropped');
like($_->query($price), qr/ERROR:  (schema|function) .*does not exist/, 'nothing answers') for ($one, $two);
is($one->query('CREATE EXTENSION customer_groups'), '', 'the extension is created again');
like($_->query($price), qr/ERROR:  unknown (customer|item)/, 'there is nothing in it') for ($one, $two);
is($two->query("$some; UPDATE customer_groups.promotions SET value = 30; $price"), '3.00', 'the other session fills it');
is($one->query($price), '3.00', 'and this one sees it');
is($one->query('INSERT INTO customer_groups.sales (customer_id, amount) VALUES (1, 5)'), '', 'it sells too');
Shop::sound($node, 'shop', 'and it is sound');
$two->query('DROP EXTENSION customer_groups; CREATE EXTENSION customer_groups');
is($one->query("$some; $price"), '1.00', 'the same, asked for without a session knowing');
like($one->query('SELECT pg_catalog.to_regclass(\'customer_groups.sales\') IS NULL; DROP EXTENSION customer_groups; DROP SCHEMA customer_groups'),
	qr/\Af\z/, 'the empty schema can be dropped as well');
is($one->query("CREATE EXTENSION customer_groups; $some; $price"), '1.00', 'and comes back with the extension');
$_->quit for ($one, $two);

# ---------------------------------------------------------------------------------------------
# Hostile objects. mallory may create in public and made everybody look there first: each operator and function of pg_catalog on
# common types is there too, and raises an error when it is called
# ---------------------------------------------------------------------------------------------
$node->safe_psql('postgres', 'CREATE DATABASE hostile');
$node->safe_psql('hostile', q{GRANT CREATE ON DATABASE hostile TO shop_owner; GRANT CREATE, USAGE ON SCHEMA public TO mallory;
	GRANT CREATE ON DATABASE hostile TO mallory});
$node->safe_psql('hostile', q{
	SET client_min_messages = warning;
	DO $do$
	DECLARE
		types constant oidvector := '16 18 19 20 21 23 25 26 700 701 1042 1043 1082 1114 1184 1186 1700 3802 2205 1007 1009 1016 1005 1021 1231 2206';
		f record;
		n int := 0;
	BEGIN
		FOR f IN
			SELECT p.proname, oidvectortypes(p.proargtypes) AS arguments, format_type(p.prorettype, NULL) AS result, p.proretset
			FROM pg_proc AS p
			WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind IN ('f', 'a') AND p.provariadic = 0
			AND (p.prorettype = ANY (types) OR p.prorettype = 'timestamptz'::regtype)
			AND p.proargtypes::oid[] <@ types::oid[] AND p.pronargs <= 4 AND p.proallargtypes IS NULL
		LOOP
			EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION %L; END$$',
				f.proname, f.arguments, CASE WHEN f.proretset THEN 'SETOF ' ELSE '' END || f.result, 'TRAP: function ' || f.proname);
			n := n + 1;
		END LOOP;
		IF n < 500 THEN RAISE EXCEPTION 'only % functions', n; END IF;
		n := 0;
		FOR f IN
			SELECT o.oprname, format_type(o.oprleft, NULL) AS lefttype, format_type(o.oprright, NULL) AS righttype,
				format_type(o.oprresult, NULL) AS result, o.oid
			FROM pg_operator AS o
			WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprkind = 'b' AND o.oprresult <> 0
			AND o.oprleft = ANY (types) AND o.oprright = ANY (types)
		LOOP
			EXECUTE format('CREATE FUNCTION public.trap_%s(a %s, b %s) RETURNS %s LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION %L; END$$',
				f.oid, f.lefttype, f.righttype, f.result, format('TRAP: operator %s of %s', replace(f.oprname, '%', '%%'), f.lefttype));
			EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.trap_%s)',
				f.oprname, f.lefttype, f.righttype, f.oid);
			n := n + 1;
		END LOOP;
		IF n < 300 THEN RAISE EXCEPTION 'only % operators', n; END IF;
	END
	$do$;
	CREATE DOMAIN public.text AS pg_catalog.bool;
	CREATE DOMAIN public.numeric AS pg_catalog.bool;
	CREATE TABLE public.sales (hostile pg_catalog.int4);
	CREATE TABLE public.customers (hostile pg_catalog.int4);
	CREATE TABLE public.customer_facts (hostile pg_catalog.int4)}, extra_params => [ '-U', 'mallory' ]);
$node->safe_psql('postgres', 'ALTER DATABASE hostile SET search_path = public, pg_catalog');

my ($status, $out, $err) = $node->psql('hostile', 'SELECT lower(text \'X\')', @Shop::as_owner);
like($err, qr/TRAP: function lower|type/, 'the traps are set');
($status, $out, $err) = $node->psql('hostile', 'SELECT 1::bigint = 1::bigint', @Shop::as_owner);
like($err, qr/TRAP: operator =/, 'for operators too');
Shop::sql($node, 'hostile', 'CREATE EXTENSION customer_groups');
pass('the extension is created among hostile objects');
Shop::sql($node, 'hostile', q{
	INSERT INTO customer_groups.settings (currency, timezone) VALUES ('EUR', 'Asia/Seoul');
	INSERT INTO customer_groups.stores (name) VALUES ('Berlin');
	INSERT INTO customer_groups.stores (code, name, currency) VALUES ('seoul', 'Seoul', 'KRW');
	INSERT INTO customer_groups.brands (name) VALUES ('Acme');
	INSERT INTO customer_groups.categories (code, name, parent_id) VALUES ('all', 'All', NULL), ('cups', 'Cups', 1);
	INSERT INTO customer_groups.items (external_id, name, brand_id, price, min_price) VALUES ('cup', 'Cup', 1, 10, 1), ('pot', 'Pot', NULL, 20, NULL);
	INSERT INTO customer_groups.item_categories VALUES (1, 2);
	INSERT INTO customer_groups.store_prices VALUES (1, 2, 9000, NULL);
	INSERT INTO customer_groups.ladders (code, name, measure, period) VALUES ('yearly', 'Yearly', 'visits', '1 year');
	INSERT INTO customer_groups.groups (code, name, ladder, upgrade_threshold)
	VALUES ('silver', 'Silver', 'default', 10), ('gold', 'Gold', NULL, 100), ('regular', 'Regular', 'yearly', 2), ('club', 'Club', NULL, NULL);
	INSERT INTO customer_groups.group_store_pricing VALUES (4, 2, true);
	INSERT INTO customer_groups.customers (external_id, name, email, birth_date) VALUES ('ann', 'Ann', 'ann@example.com', '2000-02-29'), ('ben', 'Ben', NULL, NULL);
	INSERT INTO customer_groups.members (customer_id, group_id, valid_until) VALUES (1, 4, '2099-12-31'), (2, 4, NULL);
	INSERT INTO customer_groups.promotions (name, kind, value, groups_only) VALUES ('Cups', 'percent', 10, false), ('Club', 'amount', 2.5, true);
	INSERT INTO customer_groups.promotion_categories VALUES (1, 1);
	INSERT INTO customer_groups.promotion_groups VALUES (2, 4);
	INSERT INTO customer_groups.segments (name, rule) VALUES ('Many', 'visits >= 3 AND member OF ''club''');
	INSERT INTO customer_groups.sales (customer_id, store_id, amount, external_id) VALUES (1, 1, 12, 'till-1'), (1, NULL, 3, 'till-2'), (2, NULL, 1, NULL);
	INSERT INTO customer_groups.sales (customer_id, store_id, amount, rate) VALUES (1, 2, 200000, 0.0007);
	INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price) VALUES (1, 1, 1, 1, 1, 12);
	INSERT INTO customer_groups.sale_line_promotions VALUES (1, 1, 1, 1, 1)});
is(Shop::sql($node, 'hostile', 'SELECT customer_groups.effective_price(1, 1), customer_groups.effective_price(1, 1, 2, 3, 4), customer_groups.effective_discount(NULL, 2)'),
	'(10.00,2.50,7.50,{2})|(9000,900,8100,{1})|0.00', 'prices are asked for');
is(Shop::sql($node, 'hostile', 'SELECT customer_id, group_id, source FROM customer_groups.members ORDER BY 1, 2'),
	"1|2|tier\n1|3|tier\n1|4|manual\n2|4|manual", 'tiers are earned');
Shop::sql($node, 'hostile', q{
	UPDATE customer_groups.sales SET amount = 13;
	UPDATE customer_groups.sales SET kind = 'prepaid';
	UPDATE customer_groups.members SET valid_until = NULL;
	UPDATE customer_groups.customers SET birth_date = '1999-01-01', skip_auto_upgrade = true;
	UPDATE customer_groups.groups SET upgrade_threshold = NULL, ladder = NULL;
	UPDATE customer_groups.categories SET parent_id = NULL;
	UPDATE customer_groups.promotions SET value = 5, groups_only = true;
	UPDATE customer_groups.settings SET rounding = 'half_even';
	DELETE FROM customer_groups.members});
is(Shop::sql($node, 'hostile', 'SELECT * FROM customer_groups.check_integrity()'), '', 'it is sound');
is(Shop::sql($node, 'hostile', 'SELECT customer_groups.rebuild_facts()'), '0', 'and has nothing to repair');
Shop::sql($node, 'hostile', 'SELECT * FROM customer_groups.recomputed_facts; SELECT rule::pg_catalog.jsonb, customer_groups.rule_names(rule), customer_groups.rule_rename(rule, \'group\', \'club\', \'team\') FROM customer_groups.segments');
for my $bad (
	[ 'INSERT INTO customer_groups.sales (customer_id, amount) VALUES (9, 1)', 'unknown customer' ],
	[ 'INSERT INTO customer_groups.sales (customer_id, amount) VALUES (1, -1)', 'the amount has the wrong sign' ],
	[ 'UPDATE customer_groups.promotions SET groups_only = false', 'promotion "1" cannot be opened to everybody' ],
	[ 'UPDATE customer_groups.categories SET parent_id = 2', 'categories must not go round in a circle' ],
	[ q{UPDATE customer_groups.settings SET currency = 'USD'}, 'the currency cannot be changed' ],
	[ 'UPDATE customer_groups.customers SET recorded_at = NULL', 'recorded_at of a row in "customers" cannot be changed' ],
	[ 'DELETE FROM customer_groups.promotions', 'promotion "1" cannot be deleted' ],
	[ 'DELETE FROM customer_groups.events', 'events are append-only' ],
	[ 'TRUNCATE customer_groups.members', 'table "members" cannot be truncated' ])
{
	($status, $out, $err) = $node->psql('hostile', $bad->[0], @Shop::as_owner);
	like($err, qr/ERROR:  \Q$bad->[1]\E/, "refused as everywhere: $bad->[0]");
}
Shop::sql($node, 'hostile', 'DELETE FROM customer_groups.sales; DELETE FROM customer_groups.customers; DELETE FROM customer_groups.segments; DELETE FROM customer_groups.groups; DROP EXTENSION customer_groups');
pass('and is dropped');

# ---------------------------------------------------------------------------------------------
# A schema of that name with something in it
# ---------------------------------------------------------------------------------------------
for my $prepared (
	[ 'function', q{CREATE FUNCTION customer_groups.settings_currency() RETURNS text LANGUAGE sql AS 'SELECT 1::text'} ],
	[ 'operator', q{CREATE OPERATOR customer_groups.= (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)} ],
	[ 'domain', q{CREATE DOMAIN customer_groups.sale_kind AS text} ],
	[ 'table', q{CREATE TABLE customer_groups.other (a int)} ],
	[ 'view', q{CREATE VIEW customer_groups.sales AS SELECT 1} ])
{
	my ($kind, $command) = @$prepared;
	$node->safe_psql('postgres', 'CREATE DATABASE prepared');
	$node->safe_psql('postgres', 'GRANT CREATE ON DATABASE prepared TO shop_owner, mallory');
	$node->safe_psql('prepared', "CREATE SCHEMA customer_groups; GRANT CREATE, USAGE ON SCHEMA customer_groups TO shop_owner; $command",
		extra_params => [ '-U', 'mallory' ]);
	($status, $out, $err) = $node->psql('prepared', '\\set VERBOSITY verbose' . "\nCREATE EXTENSION customer_groups", @Shop::as_owner);
	like($err, qr/ERROR:  55000: schema "customer_groups" is not empty.*HINT:  Drop or rename/s, "a schema with a $kind in it is refused");
	($status, $out, $err) = $node->psql('prepared', '\\set VERBOSITY verbose' . "\nCREATE EXTENSION customer_groups");
	like($err, qr/ERROR:  55000: schema "customer_groups" is not empty/, "to a superuser too");
	$node->safe_psql('postgres', 'DROP DATABASE prepared');
}

# ---------------------------------------------------------------------------------------------
# Another encoding
# ---------------------------------------------------------------------------------------------
for my $encoding ('LATIN1', 'SQL_ASCII')
{
	$node->safe_psql('postgres', "CREATE DATABASE other TEMPLATE template0 ENCODING '$encoding' LOCALE 'C'");
	$node->safe_psql('postgres', 'GRANT CREATE ON DATABASE other TO shop_owner');
	($status, $out, $err) = $node->psql('other', '\\set VERBOSITY verbose' . "\nCREATE EXTENSION customer_groups", @Shop::as_owner);
	like($err, qr/ERROR:  0A000: customer_groups needs a database in UTF8.*DETAIL:  This database is in $encoding.*HINT:  Create a database/s,
		"a database in $encoding is refused");
	is($node->safe_psql('other', q{SELECT count(*) FROM pg_namespace WHERE nspname = 'customer_groups'}), '0', 'and nothing is left in it');
	$node->safe_psql('postgres', 'DROP DATABASE other');
}

$node->stop;
done_testing();
