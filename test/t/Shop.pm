# What the TAP tests share: servers with a shop in them, and sessions that stay open.
#
#   my $node = Shop::server($name, %init);     not started yet; its encoding is UTF8
#   Shop::create($node, $database);            a database of the role shop_owner with the extension
#   Shop::fill($node, $database);              some rows in every table
#   Shop::sql($node, $database, $sql);         runs it as shop_owner and returns the output
#   Shop::grant_levels($node, $database);      the levels view and sell to new roles viewer and seller
#   $Shop::prices, $Shop::levels               queries of prices for everybody and of who has which level
#   Shop::contents($node, $database);          all rows of all tables, as text; of sequences too
#   Shop::sound($node, $database, $name);      a test: check_integrity() finds nothing
#   my $session = Shop::Session->new($node, $database);
#   $session->query($sql);                     the output, errors included
package Shop;

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @as_owner = (extra_params => [ '-U', 'shop_owner' ]);
our $prices = q{
	SELECT c.id, i.id, s, customer_groups.effective_price(c.id, i.id, s)
	FROM customer_groups.customers AS c, customer_groups.items AS i, unnest(ARRAY[NULL, 1, 2]) AS s
	WHERE c.id % 5 = 0 ORDER BY 1, 2, 3};
our $levels = 'SELECT * FROM customer_groups.access_levels ORDER BY role::text, level';

sub server
{
	my ($name, %init) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ], %init);
	return $node;
}

sub create
{
	my ($node, $database) = @_;
	$node->safe_psql('postgres', q{
		DO $$ BEGIN CREATE ROLE shop_owner LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$});
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql('postgres', "GRANT CREATE ON DATABASE $database TO shop_owner");
	sql($node, $database, 'CREATE EXTENSION customer_groups');
	return;
}

sub sql
{
	my ($node, $database, $sql) = @_;
	return $node->safe_psql($database, $sql, @as_owner);
}

# Each statement is a transaction of its own.
sub fill
{
	my ($node, $database) = @_;
	sql($node, $database, q{
		SET search_path = customer_groups;
		SET client_min_messages = warning;
		INSERT INTO settings (currency, timezone, rounding, enroll_many) VALUES ('EUR', 'Europe/Berlin', 'half_even', true);
		INSERT INTO stores (code, name, currency, timezone)
		VALUES ('berlin', 'Berlin', 'EUR', 'Europe/Berlin'), ('서울', 'Seoul', 'KRW', 'Asia/Seoul');
		INSERT INTO brands (code, name) VALUES ('acme', 'Acme');
		INSERT INTO categories (code, name, parent_id) VALUES ('all', 'All', NULL), ('cups', 'Cups', 1);
		INSERT INTO items (external_id, sku, name, brand_id, price, min_price)
		SELECT 'item-' || i, 's' || i, 'Item ' || i, CASE WHEN i % 3 > 0 THEN 1 END, i * 1.5, 0.5 FROM generate_series(1, 20) AS i;
		INSERT INTO item_categories (item_id, category_id) SELECT id, 1 + id % 2 FROM items;
		INSERT INTO store_prices (item_id, store_id, price) SELECT id, 2, id * 2000 FROM items;
		INSERT INTO ladders (code, name, measure, period, downgrade, grace) VALUES ('yearly', 'Yearly', 'visits', '1 year', 'at_review', '30 days');
		INSERT INTO groups (code, name, ladder, upgrade_threshold, description) VALUES
			('silver', 'Silver', NULL, 100, E'a\ttab'), ('gold', 'Gold', NULL, 1000, NULL), ('regular', 'Regular', 'yearly', 3, NULL),
			('club', 'Club', NULL, NULL, 'it''s');
		INSERT INTO group_store_pricing VALUES (4, 2, false);
		INSERT INTO customers (external_id, name, email, phone, birth_date, skip_auto_upgrade, attributes)
		SELECT 'c-' || i, 'Customer ' || i, i || '@example.com', '030-' || i, date '1970-01-01' + i * 100, i % 11 = 0, jsonb_build_object('n', i)
		FROM generate_series(1, 40) AS i;
		INSERT INTO customers DEFAULT VALUES;
		INSERT INTO members (customer_id, group_id, valid_until) SELECT id, 4, CASE WHEN id % 2 = 0 THEN '2099-12-31'::date END
		FROM customers WHERE id % 4 = 0;
		INSERT INTO sales (customer_id, store_id, kind, amount, rate, sold_at, external_id)
		SELECT 1 + i % 40, CASE i % 3 WHEN 0 THEN 1 WHEN 1 THEN 2 END, k, CASE k WHEN 'refund' THEN -1 ELSE i END,
			CASE i % 3 WHEN 1 THEN 0.7 END, now() - i * interval '7 hours', 'till-' || i
		FROM generate_series(1, 400) AS i, LATERAL (SELECT (enum_range(NULL::sale_kind))[1 + i % 5] AS k) AS kinds;
		INSERT INTO sales (customer_id, amount) VALUES (41, 50);
		INSERT INTO members (customer_id, group_id) VALUES (41, 2);
		UPDATE sales SET amount = amount + 0.01 WHERE kind = 'product' AND id % 7 = 0;
		DELETE FROM sales WHERE id % 13 = 0;
		DELETE FROM members WHERE customer_id = 8;
		INSERT INTO sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price, discount)
		SELECT customer_id, id, 1, 1 + id % 20, 1, 2, 0.5 FROM sales WHERE kind = 'product';
		INSERT INTO promotions (code, name, kind, value, groups_only, combinable, stage, starts_at, max_discount) VALUES
			('ten', 'Ten', 'percent', 10, false, false, 0, NULL, NULL), ('club', 'Club', 'amount', 2, true, true, 1, '2020-01-01', NULL),
			('cups', 'Cups', 'fixed_price', 1, false, false, 0, NULL, 3);
		INSERT INTO promotion_items VALUES (1, 1), (1, 2), (1, 3);
		INSERT INTO promotion_categories VALUES (3, 2);
		INSERT INTO promotion_brands VALUES (2, 1);
		INSERT INTO promotion_stores VALUES (3, 1);
		INSERT INTO promotion_groups VALUES (2, 1), (2, 4);
		INSERT INTO sale_line_promotions SELECT customer_id, sale_id, line_no, 1, 0.5 FROM sale_lines;
		INSERT INTO segments (code, name, rule, color, tracked) VALUES
			('many', 'Many', 'visits >= 3 AND member OF ''club''', '#ff0000', true),
			('lately', 'Lately', 'in SEGMENT ''many'' OR net_sales IN LAST 3 DAYS > 100', '#00ff00', true),
			('cups', 'Cups', 'bought CATEGORY ''cups'' >= 2', '#0000ff', true);
		SELECT record_sale(20, '[{"item": 3, "quantity": 2}, {"item": 4, "quantity": 1.5}]', 1, external_id => 'cart-1');
		SELECT record_refund(20, (SELECT id FROM sales WHERE external_id = 'cart-1'), '[{"item": 4, "quantity": 0.5}]');
		INSERT INTO promotion_segments VALUES (3, 1);
		CALL fill_segments();
		INSERT INTO sales (customer_id, amount) VALUES (3, 500);
		SELECT advance_segments();
		UPDATE segments SET rule = 'visits >= 4' WHERE code = 'many';
	});
	return;
}

sub grant_levels
{
	my ($node, $database) = @_;
	$node->safe_psql('postgres', 'CREATE ROLE viewer LOGIN; CREATE ROLE seller LOGIN');
	sql($node, $database, q{
		SELECT customer_groups.grant_access('viewer', 'view'), customer_groups.grant_access('seller', 'sell')});
	return;
}

sub contents
{
	my ($node, $database) = @_;
	my @tables = split /\n/, $node->safe_psql($database, q{
		SELECT c.oid::regclass FROM pg_class AS c
		WHERE c.relnamespace = 'customer_groups'::regnamespace AND c.relkind = 'r' AND c.relname <> 'cache_stamps'
		ORDER BY c.relname});
	my @sequences = split /\n/, $node->safe_psql($database, q{
		SELECT c.oid::regclass FROM pg_class AS c
		WHERE c.relnamespace = 'customer_groups'::regnamespace AND c.relkind = 'S' AND c.relname NOT LIKE 'cache_stamps%'
		ORDER BY c.relname});
	return $node->safe_psql($database, join "\n",
		(map { "SELECT '$_', t.* FROM $_ AS t ORDER BY t::text;" } @tables),
		(map { "SELECT '$_', last_value, is_called FROM $_;" } @sequences));
}

sub sound
{
	my ($node, $database, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql($database, 'SELECT * FROM customer_groups.check_integrity() LIMIT 10'), '', $name);
	return;
}

package Shop::Session;

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Utils;

sub new
{
	my ($class, $node, $database) = @_;
	my $self = bless { in => '', out => '' }, $class;
	$self->{timer} = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	$self->{psql} = IPC::Run::start(
		[ 'psql', '-XAtq', '-U', 'shop_owner', '-d', $node->connstr($database), '-f', '-' ],
		'<', \$self->{in}, '>', \$self->{out}, '2>&1', $self->{timer});
	return $self;
}

# Starts it and does not wait for its end.
sub send
{
	my ($self, $sql) = @_;
	$self->{out} = '';
	$self->{in} .= "$sql\n;\n\\echo == done ==\n";
	$self->{psql}->pump_nb;
	return;
}

sub query
{
	my ($self, $sql) = @_;
	$self->send($sql);
	$self->{timer}->reset;
	$self->{timer}->start;
	$self->{psql}->pump until $self->{out} =~ /^== done ==\n/m;
	my ($result) = $self->{out} =~ /\A(.*?)\n?== done ==\n/s;
	return $result;
}

sub quit
{
	my ($self) = @_;
	$self->{in} .= "\\q\n";
	$self->{psql}->finish;
	return;
}

1;
