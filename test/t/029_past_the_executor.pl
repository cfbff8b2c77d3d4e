# A sale changes the facts and writes its events without executing statements for them, on this version of PostgreSQL, too; and by statements
# once a shop has put something on those tables. That both come to the same is shown by facts_altered.sql and events_altered.sql.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

my $node = Shop::server('main');
$node->append_conf('postgresql.conf', "fsync = off\nsession_preload_libraries = auto_explain\nauto_explain.log_min_duration = 0\nauto_explain.log_nested_statements = on");
$node->start;
Shop::create($node, 'shop');
Shop::sql($node, 'shop', q{
	SET search_path = customer_groups;
	INSERT INTO customers (name) SELECT 'Customer ' || i FROM generate_series(1, 10) AS i;
	INSERT INTO groups (code, name, upgrade_threshold) VALUES ('silver', 'Silver', 100), ('gold', 'Gold', 200);
	INSERT INTO segments (code, name, tracked, rule) VALUES ('good', 'Good', true, 'net_sales >= 100');
	CALL fill_segments();
	CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'});

# The tables that a customer's sales change by statements, of those that they change.
sub executed
{
	my ($customer) = @_;
	my $from = -s $node->logfile;
	Shop::sql($node, 'shop', "INSERT INTO customer_groups.sales (customer_id, amount) VALUES ($customer, $_)") for (50, 100, 150);
	is(Shop::sql($node, 'shop', "SELECT string_agg(kind, ' ' ORDER BY id) FROM customer_groups.events WHERE customer_id = $customer"),
		'member_added tier_upgraded segment_entered member_removed member_added tier_upgraded', "customer $customer: what was to be written is");
	my $log = slurp_file($node->logfile, $from);
	my %tables = map { $_ => 1 } $log =~ /(?:Insert|Update|Delete|Merge) on (\w+)/g;
	return join ' ', sort keys %tables;
}

my $others = 'members sales segment_members';
is(executed(1), $others, 'nothing is executed on the facts and the events');
Shop::sql($node, 'shop', 'CREATE TRIGGER pass BEFORE INSERT ON customer_groups.events FOR EACH ROW EXECUTE FUNCTION customer_groups.pass()');
is(executed(2), "events $others", 'a trigger on the events: an INSERT is executed');
Shop::sql($node, 'shop', 'DROP TRIGGER pass ON customer_groups.events; CREATE TRIGGER pass BEFORE UPDATE ON customer_groups.customer_facts FOR EACH ROW EXECUTE FUNCTION customer_groups.pass()');
is(executed(3), "customer_facts $others", 'a trigger on the facts: an UPDATE is executed');
Shop::sql($node, 'shop', 'DROP TRIGGER pass ON customer_groups.customer_facts');
is(executed(4), $others, 'none any more');

$node->stop;
done_testing();
