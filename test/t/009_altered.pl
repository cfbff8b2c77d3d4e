# The owner, who is no superuser, alters the tables. What the engine cannot read is refused with 55000 each time it is asked, never a
# crash or a wrong price, and all is right again when the change is undone; what changes prices without a stamp is noticed all the same.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

our $database = 'shop';
my $node = Shop::server('main');
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
Shop::create($node, 'shop');

# Promotion 1 takes 10 per cent off item 1, promotion 3 20 per cent off item 3, promotion 2 5 off items 1 and 3; item 2 is left alone.
my $fill = q{
	SET search_path = customer_groups;
	INSERT INTO items (id, name, price) SELECT i, 'Item ' || i, 100 FROM generate_series(1, 3) AS i;
	INSERT INTO customers (id) SELECT generate_series(1, 3);
	INSERT INTO groups (id, code, name, upgrade_threshold) VALUES (1, 'silver', 'Silver', 50), (2, 'gold', 'Gold', 100000), (3, 'club', 'Club', NULL);
	INSERT INTO members (customer_id, group_id) VALUES (1, 3);
	INSERT INTO promotions (id, code, name, kind, value) VALUES (1, 'ten', 'Ten', 'percent', 10), (2, 'five', 'Five', 'amount', 5), (3, 'twenty', 'Twenty', 'percent', 20);
	INSERT INTO promotion_items VALUES (1, 1), (2, 1), (2, 3), (3, 3);
	RESET search_path};
Shop::sql($node, 'shop', $fill);
$node->safe_psql('shop', 'GRANT CREATE ON SCHEMA public TO shop_owner');

my $prices = q{SELECT string_agg(i || ':' || customer_groups.effective_discount(1, i), ' ' ORDER BY i) FROM generate_series(1, 3) AS i};
my $right = '1:10.00 2:0.00 3:20.00';
my $price = 'SELECT price FROM customer_groups.effective_price(1, 1)';
my $edit = 'UPDATE customer_groups.promotions SET value = 10 WHERE id = 1';
my $sale = 'INSERT INTO customer_groups.sales (customer_id, amount) VALUES (2, 1)';
my $facts = 'SELECT visits, net_sales FROM customer_groups.customer_facts WHERE customer_id = 2';

sub session
{
	my $session = Shop::Session->new($node, $database);
	$session->query('\set VERBOSITY verbose');
	return $session;
}

# What it answers; errors begin with "ERROR:  " and their SQLSTATE.
sub answer
{
	my ($session, $sql) = @_;
	return $session->query($sql) =~ s/^psql:<stdin>:\d+: //mgr;
}

sub fresh
{
	my ($sql) = @_;
	my $session = session();
	my $result = answer($session, $sql);
	$session->quit;
	return $result;
}

# In a database of its own, what was changed is undone with $undo, after $ask was refused: twice in a warm session, in the one that
# altered, and in a new one.
sub refused
{
	my ($name, $change, $ask, $undo) = @_;

	$node->safe_psql('postgres', 'CREATE DATABASE altered TEMPLATE shop');
	local $database = 'altered';
	my $warm = session();
	my $owner = session();
	my $before = answer($warm, "$facts; $price");

	answer($_, $prices) for ($warm, $owner);
	is(answer($owner, $change), '', "$name: changed");
	for my $who ([ 'a warm session', $warm ], [ 'a warm session', $warm ], [ 'who altered', $owner ], [ 'a new session', session() ])
	{
		my ($label, $session) = @$who;
		like(answer($session, $ask), qr/\AERROR:  55000: /, "$name: $label is refused");
		$session->quit if $label eq 'a new session';
	}
	is(answer($owner, $undo), '', "$name: undone");
	is(answer($_, $prices), $right, "$name: prices are right again") for ($warm, $owner);
	is(fresh($prices), $right, "$name: in a new session too");
	is(answer($warm, "$facts; $price"), $before, "$name: nothing was booked");
	is(answer($_, "BEGIN; $edit; $prices; ROLLBACK; BEGIN; $sale; $facts; ROLLBACK"),
		join("\n", $right, join('|', map { $_ + 1 } split /\|/, (split /\n/, $before)[0])), "$name: edits and sales work again")
		for ($warm, $owner);
	$_->quit for ($warm, $owner);
	Shop::sound($node, 'altered', "$name: sound");
	$node->safe_psql('postgres', 'DROP DATABASE altered WITH (FORCE)');
	return;
}

# What was changed does not matter: prices, edits and sales go on.
sub goes_on
{
	my ($name, $change) = @_;
	my $warm = session();

	answer($warm, $prices);
	is(fresh($change), '', "$name: changed");
	is(answer($warm, "$prices; BEGIN; $edit; $prices; $sale; ROLLBACK"), "$right\n$right", "$name: a warm session goes on");
	is(fresh("$prices; BEGIN; $edit; $prices; $sale; ROLLBACK"), "$right\n$right", "$name: a new one too");
	$warm->quit;
	return;
}

# Views depend on some columns, whose type cannot be altered: another column takes their place.
sub retyped
{
	my ($table, $column, $type, $using) = @_;
	$using //= '';
	return "BEGIN; ALTER TABLE customer_groups.$table RENAME $column TO old_$column; ALTER TABLE customer_groups.$table ADD $column $type;
		ALTER TABLE customer_groups.$table DISABLE TRIGGER USER;
		UPDATE customer_groups.$table SET $column = old_$column$using; ALTER TABLE customer_groups.$table ENABLE TRIGGER USER; COMMIT";
}

sub typed_back
{
	my ($table, $column) = @_;
	return "BEGIN; ALTER TABLE customer_groups.$table DROP $column; ALTER TABLE customer_groups.$table RENAME old_$column TO $column; COMMIT";
}

is(fresh($sale), '', 'a sale');
is(fresh($prices), $right, 'prices');

# ---------------------------------------------------------------------------------------------
# What the engine cannot read
# ---------------------------------------------------------------------------------------------
refused('a price of another type', 'ALTER TABLE customer_groups.items ALTER price TYPE bigint', $price,
	'ALTER TABLE customer_groups.items ALTER price TYPE numeric');
refused('an item without a price', 'ALTER TABLE customer_groups.items RENAME price TO cost', $price,
	'ALTER TABLE customer_groups.items RENAME cost TO price');
refused('min_quantity of another type', 'ALTER TABLE customer_groups.promotions ALTER min_quantity TYPE bigint', $price,
	'ALTER TABLE customer_groups.promotions ALTER min_quantity TYPE numeric');
refused('starts_at of another type', retyped('promotions', 'starts_at', 'date'), $price, typed_back('promotions', 'starts_at'));
refused('a threshold of another type', retyped('groups', 'upgrade_threshold', 'bigint'), $sale, typed_back('groups', 'upgrade_threshold'));
refused('facts of another type', retyped('customer_facts', 'net_sales', 'double precision'), $sale, typed_back('customer_facts', 'net_sales'));

refused('a partitioned table in the place of another',
	q{BEGIN;
	ALTER TABLE customer_groups.items RENAME TO old_items;
	CREATE TABLE customer_groups.items (LIKE customer_groups.old_items INCLUDING DEFAULTS, PRIMARY KEY (id)) PARTITION BY RANGE (id);
	CREATE TABLE customer_groups.items_1 PARTITION OF customer_groups.items DEFAULT;
	INSERT INTO customer_groups.items SELECT * FROM customer_groups.old_items;
	COMMIT},
	$price, 'DROP TABLE customer_groups.items; ALTER TABLE customer_groups.old_items RENAME TO items');
refused('a view in the place of a table',
	'BEGIN; ALTER TABLE customer_groups.members RENAME TO old_members; CREATE VIEW customer_groups.members AS SELECT * FROM customer_groups.old_members; COMMIT',
	$price, 'DROP VIEW customer_groups.members; ALTER TABLE customer_groups.old_members RENAME TO members');
refused('no primary key of members', 'ALTER TABLE customer_groups.members DROP CONSTRAINT members_pkey', $price,
	'ALTER TABLE customer_groups.members ADD CONSTRAINT members_pkey PRIMARY KEY (customer_id, group_id)');
refused('no primary key of item_categories', 'ALTER TABLE customer_groups.item_categories DROP CONSTRAINT item_categories_pkey', $price,
	'ALTER TABLE customer_groups.item_categories ADD CONSTRAINT item_categories_pkey PRIMARY KEY (item_id, category_id)');
refused('a primary key the other way round',
	'ALTER TABLE customer_groups.members DROP CONSTRAINT members_pkey, ADD CONSTRAINT members_pkey PRIMARY KEY (group_id, customer_id)', $price,
	'ALTER TABLE customer_groups.members DROP CONSTRAINT members_pkey, ADD CONSTRAINT members_pkey PRIMARY KEY (customer_id, group_id)');

# Its rows are rows of promotions to SQL.
refused('a child of promotions',
	q{CREATE TABLE child () INHERITS (customer_groups.promotions);
	INSERT INTO child (id, code, name, kind, value) VALUES (9, 'nine', 'Nine', 'percent', 90)},
	$price, 'DROP TABLE child');
refused('a child that is detached',
	'CREATE TABLE child () INHERITS (customer_groups.members)',
	$price, 'ALTER TABLE child NO INHERIT customer_groups.members; DROP TABLE child');

# ---------------------------------------------------------------------------------------------
# The stamps
# ---------------------------------------------------------------------------------------------
refused('an index on the stamps', 'CREATE INDEX stamps_key ON customer_groups.cache_stamps ((key + 1))', $edit,
	'DROP INDEX customer_groups.stamps_key');
refused('a column of the stamps that may not be null', q{ALTER TABLE customer_groups.cache_stamps ADD COLUMN note text NOT NULL DEFAULT 'x'}, $edit,
	'ALTER TABLE customer_groups.cache_stamps DROP COLUMN note');
refused('another name of a column of the stamps', 'ALTER TABLE customer_groups.cache_stamps RENAME key TO id', $edit,
	'ALTER TABLE customer_groups.cache_stamps RENAME id TO key');

for my $statement (
	'TRUNCATE customer_groups.cache_stamps',
	'DELETE FROM customer_groups.cache_stamps',
	'DELETE FROM customer_groups.cache_stamps WHERE false',
	'UPDATE customer_groups.cache_stamps SET key = 1',
	q{INSERT INTO customer_groups.cache_stamps VALUES (1000000, 'p', 1)},
	q{COPY customer_groups.cache_stamps FROM PROGRAM 'true'})
{
	my ($status, $out, $err) = $node->psql('shop', "\\set VERBOSITY verbose\n$statement");
	like($err, qr/ERROR:  55000: stamps are not written by hand/, "refused to a superuser: $statement");
	like(fresh($statement), qr/\AERROR:  55000: stamps are not written by hand/, "refused to the owner: $statement") if $statement !~ /COPY/;
}

# ---------------------------------------------------------------------------------------------
# What does not matter
# ---------------------------------------------------------------------------------------------
goes_on('another column of items', 'ALTER TABLE customer_groups.items ADD COLUMN color text DEFAULT \'red\'');
goes_on('another column of the stamps, which stays null', 'ALTER TABLE customer_groups.cache_stamps ADD COLUMN note text');
goes_on('a dropped column of the stamps', 'ALTER TABLE customer_groups.cache_stamps DROP COLUMN note');
goes_on('a dropped column of items', 'ALTER TABLE customer_groups.items DROP COLUMN color');
goes_on('another column of promotions', 'ALTER TABLE customer_groups.promotions ADD COLUMN note int DEFAULT 5');
goes_on('a dropped column of promotions', 'ALTER TABLE customer_groups.promotions DROP COLUMN note');
goes_on('a column of sales', 'ALTER TABLE customer_groups.sales ADD COLUMN note text; ALTER TABLE customer_groups.sales DROP COLUMN note');
goes_on('rewritten stamps', 'VACUUM FULL customer_groups.cache_stamps');
goes_on('clustered stamps', 'CLUSTER customer_groups.cache_stamps USING cache_stamps_pkey');
goes_on('a new index of the stamps', 'REINDEX TABLE customer_groups.cache_stamps');
goes_on('rewritten promotions', 'VACUUM FULL customer_groups.promotions');
goes_on('rewritten items', 'VACUUM FULL customer_groups.items; REINDEX TABLE customer_groups.items');
goes_on('an index of promotions', 'CREATE INDEX note ON customer_groups.promotions (name)');
goes_on('statistics', 'ANALYZE customer_groups.promotions, customer_groups.items, customer_groups.cache_stamps');

# ---------------------------------------------------------------------------------------------
# What leaves no stamp
# ---------------------------------------------------------------------------------------------
my $double = retyped('promotions', 'value', 'numeric(20,0)', ' * 2');
my $half = typed_back('promotions', 'value');
my $doubled = '1:20.00 2:0.00 3:40.00';

# The same as prices, which are 100 without promotions, by SQL.
my $by_sql = q{SELECT string_agg(i || ':' || coalesce((
		SELECT to_char(max(p.value), 'FM990.00') FROM customer_groups.promotions AS p JOIN customer_groups.promotion_items AS c ON c.promotion_id = p.id
		WHERE c.item_id = i), '0.00'), ' ' ORDER BY i)
	FROM generate_series(1, 3) AS i};

# Through all sessions: who asked before, also in a transaction; and two whose snapshot is older, which get what it reads and see the
# change when it is over: one that asked before and one that had not.
sub noticed
{
	my ($name, $change, $then) = @_;
	my $warm = session();
	my $inside = session();
	my $earlier = session();
	my $late = session();
	my $began = fresh($by_sql);

	is(answer($_, $prices), $began, "$name: before") for ($warm, $inside, $earlier);
	is(answer($inside, 'BEGIN; SELECT 1'), '1', "$name: a transaction begins");
	is(answer($_, 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1'), '1', "$name: another with a snapshot of its own") for ($earlier, $late);
	is(fresh("SET lock_timeout = '60s'; $change"), '', "$name: changed");
	is(answer($warm, $prices), $then, "$name: a warm session sees it");
	is(answer($inside, $prices), $then, "$name: also in a transaction");
	answer($inside, 'COMMIT');
	for my $old ([ 'an older snapshot', $earlier ], [ 'an older snapshot that had not asked', $late ])
	{
		my ($label, $session) = @$old;
		my $asked = answer($session, $prices);
		is($asked, answer($session, $by_sql), "$name: $label gets what it reads");
		answer($session, 'COMMIT');
		is(answer($session, $prices), $then, "$name: $label sees the change when it is over");
	}
	is(fresh($prices), $then, "$name: a new session sees it");
	$_->quit for ($warm, $inside, $earlier, $late);
	return;
}

# The table is rewritten.
noticed('a computed column in the place of the value',
	q{BEGIN; ALTER TABLE customer_groups.promotions RENAME value TO old_value;
	ALTER TABLE customer_groups.promotions ADD value numeric(20,0) GENERATED ALWAYS AS (old_value * 2) STORED; COMMIT}, $doubled);
noticed('the value again', $half, $right);
noticed('another column in the place of the value', $double, $doubled);
noticed('the first one again', $half, $right);
noticed('triggers off in one transaction',
	q{BEGIN; ALTER TABLE customer_groups.promotions DISABLE TRIGGER USER; UPDATE customer_groups.promotions SET value = value * 2;
	ALTER TABLE customer_groups.promotions ENABLE TRIGGER USER; COMMIT}, $doubled);
noticed('triggers off in three',
	q{ALTER TABLE customer_groups.promotions DISABLE TRIGGER USER; UPDATE customer_groups.promotions SET value = value / 2;
	ALTER TABLE customer_groups.promotions ENABLE TRIGGER USER}, $right);

# Asked between the three, so that each of them has been taken in.
{
	my $warm = session();
	answer($warm, $prices);
	for my $statement ('ALTER TABLE customer_groups.promotions DISABLE TRIGGER USER',
		'UPDATE customer_groups.promotions SET value = value * 2', 'ALTER TABLE customer_groups.promotions ENABLE TRIGGER USER')
	{
		is(fresh($statement), '', "$statement, and asked after it");
		answer($warm, $prices);
	}
	is(answer($warm, $prices), $doubled, 'asked all the time, a warm session sees it in the end');
	is(fresh($edit . '; UPDATE customer_groups.promotions SET value = 20 WHERE id = 3; UPDATE customer_groups.promotions SET value = 5 WHERE id = 2'), '',
		'by ordinary edits');
	is(answer($warm, $prices), $right, 'all is as it was');
	$warm->quit;
}

# ENABLE TRIGGER USER made ordinary triggers of those that always fire.
Shop::sql($node, 'shop', join '; ', map { "ALTER TABLE customer_groups.promotions ENABLE ALWAYS TRIGGER $_" } ('zz_leave_stamp', 'zz_leave_stamp_truncate'));

# ---------------------------------------------------------------------------------------------
# Orphans, as a superuser makes them in replica role
# ---------------------------------------------------------------------------------------------
{
	my $warm = session();
	is(answer($warm, $prices), $right, 'orphans: before');
	$node->safe_psql('shop', q{SET session_replication_role = replica; DELETE FROM customer_groups.promotions WHERE id = 2});
	is(Shop::sql($node, 'shop', 'SELECT count(*) FROM customer_groups.promotion_items WHERE promotion_id = 2'), '2', 'orphans: attachments are left');
	is(answer($warm, $prices), $right, 'orphans: the others are as they were');
	is(fresh(q{UPDATE customer_groups.promotions SET value = value + 1}), '', 'orphans: edits of the others');
	is(answer($warm, $prices), '1:11.00 2:0.00 3:21.00', 'orphans: they keep what they cover');
	is(fresh($prices), '1:11.00 2:0.00 3:21.00', 'orphans: in a new session');
	is(fresh(q{UPDATE customer_groups.promotion_items SET item_id = 2 WHERE promotion_id = 2 AND item_id = 1; UPDATE customer_groups.promotions SET value = value - 1}), '',
		'orphans: edited too');
	is(answer($warm, $prices), $right, 'orphans: nothing comes of it');
	$node->safe_psql('shop', q{SET session_replication_role = replica;
		INSERT INTO customer_groups.promotions (id, code, name, kind, value) VALUES (2, 'five', 'Five', 'amount', 5)});
	is(answer($warm, $prices), '1:10.00 2:5.00 3:20.00', 'orphans: the promotion comes back');
	is(fresh($prices), '1:10.00 2:5.00 3:20.00', 'orphans: in a new session as well');
	is(fresh('UPDATE customer_groups.promotion_items SET item_id = 1 WHERE promotion_id = 2 AND item_id = 2'), '', 'orphans: put right');
	is(answer($warm, $prices), $right, 'orphans: after it');
	$warm->quit;
	Shop::sound($node, 'shop', 'orphans: sound');
}

# ---------------------------------------------------------------------------------------------
# An older library
# ---------------------------------------------------------------------------------------------
{
	my $warm = session();
	my $older = qr/\AERROR:  55000: the library of extension customer_groups is older than its SQL objects.*DETAIL:  .*99\.0.*HINT:  Reconnect/s;
	my $version = $node->safe_psql('shop', q{SELECT extversion FROM pg_extension WHERE extname = 'customer_groups'});
	is(answer($warm, $prices), $right, 'version: before');
	$node->safe_psql('shop', q{UPDATE pg_extension SET extversion = '99.0' WHERE extname = 'customer_groups'});
	like(fresh($_), $older, "version: a newer one: $_") for ($price, $edit, $sale);
	# A warm session looks again at what was altered.
	is(fresh('ALTER TABLE customer_groups.items SET (fillfactor = 90); ALTER TABLE customer_groups.sales SET (fillfactor = 90)'), '',
		'version: tables are altered');
	for my $n (1, 2)
	{
		like(answer($warm, $_), $older, "version: a warm session: $_") for ($price, $edit, $sale);
	}
	$node->safe_psql('shop', qq{UPDATE pg_extension SET extversion = '$version' WHERE extname = 'customer_groups'});
	is(answer($warm, $prices), $right, 'version: as it was');
	is(fresh($prices), $right, 'version: for a new session');
	is(answer($warm, "BEGIN; $edit; $sale; ROLLBACK"), '', 'version: edits and sales');
	$warm->quit;
}

# ---------------------------------------------------------------------------------------------
# The extension created anew, with as many stamps of the same numbers
# ---------------------------------------------------------------------------------------------
{
	my $anew = "DROP EXTENSION customer_groups; CREATE EXTENSION customer_groups; $fill";
	is(fresh($anew), '', 'anew: created');
	my $stamps = Shop::sql($node, 'shop', 'SELECT count(*), max(stamp) FROM customer_groups.cache_stamps');
	my @sessions = map { session() } (1, 2);
	is(answer($_, $prices), $right, 'anew: before') for @sessions;
	is(fresh($anew =~ s/'percent', 10/'percent', 30/r =~ s/\(1, 1\), \(2, 1\)/(1, 2), (2, 1)/r), '', 'anew: with other promotions');
	is(Shop::sql($node, 'shop', 'SELECT count(*), max(stamp) FROM customer_groups.cache_stamps'), $stamps, 'anew: the stamps are the same');
	is(answer($_, $prices), '1:5.00 2:30.00 3:20.00', 'anew: the next price is right') for @sessions;
	is(answer($_, $sale), '', 'anew: and the next sale') for @sessions;
	is(fresh($facts), '2|2', 'anew: which are booked');
	$_->quit for @sessions;
	Shop::sound($node, 'shop', 'anew: sound');
}

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal|ERROR:  XX000/, 'nothing crashed');
$node->stop;
done_testing();
