# Each SQLSTATE that docs/errors.md lists is raised here, by what a user does, with a message that stands below it, in the style of
# PostgreSQL, and a hint; and no other.
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
$node->safe_psql('postgres', 'CREATE ROLE viewer LOGIN; CREATE ROLE editor LOGIN; CREATE ROLE assistant LOGIN; CREATE ROLE nobody LOGIN');
Shop::sql($node, 'shop', q{SELECT customer_groups.grant_access('viewer', 'view'), customer_groups.grant_access('editor', 'edit'), customer_groups.grant_access('assistant', 'members')});

# The document: patterns of messages by SQLSTATE.
my (%documented, $state);
for (split /\n/, slurp_file("$FindBin::RealBin/../../docs/errors.md"))
{
	$state = $1 if /^### ([0-9A-Z]{5})\b/;
	undef $state if /^## /;
	push @{ $documented{$state} }, join '.*', map { quotemeta } split /…/, $1, -1 if defined $state && /^- `(.*)`$/;
}
cmp_ok(scalar keys %documented, '>=', 20, 'the document lists SQLSTATEs');

my %raised;

# raises(SQLSTATE, ROLE, STATEMENT...): the last of them raises it.
sub raises
{
	my ($expected, $role, @statements) = @_;
	my ($status, $out, $err) = $node->psql('shop', "\\set VERBOSITY verbose\nSET search_path = customer_groups; SET client_min_messages = error;\n" . join(";\n", @statements),
		extra_params => [ '-U', $role ], on_error_stop => 0);
	raised($expected, $statements[-1], $err);
	return;
}

sub raised
{
	my ($expected, $statement, $err) = @_;
	my ($got, $message) = $err =~ /ERROR:  (\w{5}): (.*)/;
	$got //= '';
	$message //= $err;
	my ($pattern) = grep { $message =~ /^$_$/ } @{ $documented{$expected} };
	# Who attaches a trigger function elsewhere, or sends what no client has made, gets no hint.
	ok($got eq $expected && defined $pattern && ($err =~ /^HINT:  (?:[A-Z]|\w+\().*[.}]$/m || $got =~ /^(?:22P03|39P01|42703)$/), "$expected: $message")
	  or diag("$statement\n$err");
	$raised{$got}{ $pattern // '' } = 1;
	return;
}
sub owner_raises { my ($expected, @statements) = @_; raises($expected, 'shop_owner', @statements); return }

owner_raises('02000', $_) for 'SELECT effective_discount(404, 1)', 'SELECT effective_discount(1, 404)', 'SELECT effective_discount(1, 1, 404)', q{SELECT add_member(1, 'none')},
	q{SELECT tier_of(1, 'none')}, q{SELECT attach_promotion('club', 'none')}, 'SELECT record_refund(1, 404)', q{SELECT segment_size('none')};
owner_raises('0A000', 'TRUNCATE members');
owner_raises('22003', $_) for q{INSERT INTO sales (customer_id, amount) VALUES (1, 'NaN')}, q{SELECT price_cart(1, '[{"item": 1, "quantity": 1e100}]')};
owner_raises('22004', $_) for 'SELECT tier_of(1, NULL)', q{SELECT add_member(NULL, 'club')}, 'SELECT add_member(1, NULL)', 'SELECT price_cart(1, NULL)', 'CALL fill_segments(NULL)',
	q{SELECT grant_access('viewer', NULL)}, q{SELECT add_members_by_email('club', NULL)}, 'SELECT segment_sizes(NULL)', q{SELECT review_tiers('yearly', NULL)};
owner_raises('22023', $_) for q{SELECT set_groups(1, '{silver,gold}')}, q{SELECT grant_access('viewer', 'everything')}, q{SELECT grant_access('shop_owner', 'view')}, 'CALL fill_segments(0)',
	q{SELECT record_sale(1, '[]')}, q{SELECT price_cart(1, '[{"item": "x"}]')}, q{SELECT move_members('{1}', 'club', 'club')}, q{SELECT enroll(1, '{gold}')}, q{SELECT load_default_segments('xx')},
	q{SELECT set_group_discount('club', 'gift', 1)},
	q{SELECT record_sale(20, '[{"item": 1}]', 1, external_id => 'cart-1')}, q{SELECT record_sale(20, '[{"item": 1}]', kind => 'refund')}, q{SELECT '{"xor": []}'::jsonb::segment_rule},
	q{SELECT groups_of(1, 'infinity')}, q{SELECT add_member(1, 'club', '2001-01-01')}, q{SELECT segments_of(1, 'infinity')};
owner_raises('22P02', q{SELECT 'visits >'::segment_rule});
my $file = PostgreSQL::Test::Utils::tempdir . '/rule';
owner_raises('22P03', q{CREATE TEMPORARY TABLE sent (rule bytea); CREATE TEMPORARY TABLE received (rule segment_rule); INSERT INTO sent VALUES ('\x63')},
	"\\copy sent TO '$file' (FORMAT binary)\n\\copy received FROM '$file' (FORMAT binary)\n");
owner_raises('22008', $_) for q{SELECT review_tiers('yearly', true, '294276-12-31 23:59:59+00')};
owner_raises('23502', $_) for 'INSERT INTO sales (customer_id, amount) VALUES (1, NULL)', 'INSERT INTO sales (amount) VALUES (1)';
owner_raises('23503', $_) for 'INSERT INTO sales (customer_id, amount) VALUES (404, 1)', 'INSERT INTO sales (customer_id, store_id, amount) VALUES (1, 404, 1)', 'INSERT INTO members (customer_id, group_id) VALUES (1, 404)';
owner_raises('23514', $_) for 'UPDATE categories SET parent_id = 2 WHERE id = 1', 'INSERT INTO sales (customer_id, amount) VALUES (1, -1)', 'INSERT INTO sales (customer_id, amount, rate) VALUES (1, 1, 2)',
	'INSERT INTO sales (customer_id, store_id, amount) VALUES (1, 2, 1)', q{UPDATE segments SET rule = 'in SEGMENT ''lately''' WHERE code = 'many'};
owner_raises('25001', 'BEGIN', 'CALL fill_segments()');
owner_raises('27000', 'BEGIN', q{CREATE FUNCTION take_back() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM customer_groups.members WHERE customer_id = NEW.customer_id; RETURN NULL; END'},
	'CREATE TRIGGER take_back AFTER INSERT ON members FOR EACH ROW EXECUTE FUNCTION take_back()', q{SELECT add_member(2, 'gold')});
owner_raises('2BP01', $_) for q{DELETE FROM promotions WHERE code = 'ten'}, q{DELETE FROM categories WHERE code = 'cups'}, 'DELETE FROM promotion_segments; DELETE FROM segments WHERE code = \'many\'', q{DELETE FROM segments WHERE code = 'many'};
owner_raises('39P01', $_) for 'SELECT book_sales()', 'SELECT mark_pending()', 'CREATE TEMPORARY TABLE t (id int); CREATE TRIGGER t AFTER INSERT ON t EXECUTE FUNCTION book_sales(); INSERT INTO t VALUES (1)';
Shop::sql($node, 'shop', 'GRANT USAGE ON SCHEMA customer_groups TO nobody; GRANT EXECUTE ON FUNCTION customer_groups.effective_discount TO nobody');
raises('42501', @$_) for [ 'nobody', 'SELECT customer_groups.effective_discount(1, 1)' ],
	[ 'editor', 'UPDATE segments SET pending_since = now() WHERE tracked' ], [ 'assistant', 'DELETE FROM members' ];
my $session = Shop::Session->new($node, 'shop');
$session->query('\set VERBOSITY verbose');
$session->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM customer_groups.customers');
Shop::sql($node, 'shop', q{INSERT INTO customer_groups.segments (name, rule) VALUES ('x', 'bought BRAND ''acme'' >= 1')});
my $rename = q{UPDATE customer_groups.brands SET code = 'other' WHERE code = 'acme'};
raised('40001', $rename, $session->query($rename));
$session->quit;
owner_raises('42703', q{CREATE TRIGGER t BEFORE INSERT ON groups FOR EACH ROW EXECUTE FUNCTION leave_stamp('group', 'none')}, q{INSERT INTO groups (name) VALUES ('x')});
owner_raises('42704', $_) for q{INSERT INTO segments (name, rule) VALUES ('x', 'member OF ''none''')}, q{INSERT INTO segments (name, rule) VALUES ('x', 'tier OF ''default'' = ''none''')}, q{SELECT grant_access(4294967295::regrole, 'view')};
owner_raises('54000', q{SELECT (repeat('NOT (', 5000) || 'ALL' || repeat(')', 5000))::segment_rule});
owner_raises('55000', $_) for 'DELETE FROM events', 'UPDATE sales SET recorded_at = now()', 'INSERT INTO cache_stamps DEFAULT VALUES', q{UPDATE settings SET currency = 'USD'}, q{UPDATE segments SET id = 77 WHERE code = 'many'},
	'UPDATE sales SET customer_id = 1 WHERE customer_id = 2';
is(join(' ', grep { !$raised{$_} } sort keys %documented), '', 'each documented SQLSTATE was raised');
note 'messages raised: ' . join ', ', map { "$_ " . keys(%{ $raised{$_} }) . ' of ' . @{ $documented{$_} } } sort keys %documented;
Shop::sound($node, 'shop', 'nothing is left of it');

$node->stop;
done_testing();
