# Crashes at random moments under a load of sales, edits, memberships and reviews of segments: every sale whose commit a client saw is
# there after the recovery, booked once, and nothing else is but what was on its way. CRASH_ROUNDS sets the number of crashes.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use Shop;

my $rounds = $ENV{CRASH_ROUNDS} // 20;
my $clients = 4;
my $dir = PostgreSQL::Test::Utils::tempdir;
my $seed = $ENV{CRASH_SEED} // time;
srand $seed;
note "CRASH_SEED=$seed";

my $node = Shop::server('main');
# A backend that dies takes the others along, and the server comes back by itself.
$node->append_conf('postgresql.conf', "restart_after_crash = on\nlog_statement = none");
$node->start;
Shop::create($node, 'shop');
Shop::fill($node, 'shop');

# Sales count themselves: pgbench logs which of a client's transactions it saw the end of, and the n-th has the number n.
append_to_file("$dir/record_sale.sql", q{
	\set n :n + 1
	\set customer random(1, 40)
	SELECT customer_groups.record_sale(:customer, '[{"item": 3, "quantity": 2}, {"item": 4, "quantity": 1}]', 1,
		external_id => 'crash-' || :round || '-' || :client_id || '-' || :n);
});
append_to_file("$dir/insert.sql", q{
	\set n :n + 1
	\set customer random(1, 40)
	INSERT INTO customer_groups.sales (customer_id, amount, external_id)
	VALUES (:customer, 25, 'crash-' || :round || '-' || :client_id || '-' || :n);
});
append_to_file("$dir/promotion.sql", q{
	\set value random(1, 50)
	UPDATE customer_groups.promotions SET value = :value WHERE id = 1;
});
append_to_file("$dir/member.sql", q{
	\set customer random(1, 40)
	SELECT customer_groups.add_member(:customer, 'club');
	SELECT customer_groups.remove_member(:customer + 1, 'club');
});
append_to_file("$dir/members.sql", q{
	\set first random(1, 30)
	SELECT customer_groups.add_members('silver', ARRAY(SELECT generate_series(:first, :first + 9)));
});
append_to_file("$dir/segments.sql", q{
	\set days random(1, 9)
	UPDATE customer_groups.segments SET rule = format('visits IN LAST %s DAYS >= 1', :days)::customer_groups.segment_rule WHERE code = 'many';
	CALL customer_groups.fill_segments(7);
	SELECT customer_groups.advance_segments();
});

sub load
{
	my (@arguments) = @_;
	my $load = { out => '', err => '' };
	$load->{run} = IPC::Run::start([ 'pgbench', '-n', '-T', '120', '-U', 'shop_owner', @arguments, $node->connstr('shop') ],
		'>', \$load->{out}, '2>', \$load->{err});
	return $load;
}

my ($seen, $unseen) = (0, 0);
my @wrong;
for my $round (1 .. $rounds)
{
	my $sales = load('-c', $clients, '-j', 1, '-D', 'n=0', '-D', "round=$round", '-l', "--log-prefix=$dir/log-$round",
		'-f', "$dir/record_sale.sql", '-f', "$dir/insert.sql");
	my $others = load('-c', 3, '-j', 1, '--max-tries=100', map { ('-f', "$dir/$_.sql") } 'promotion', 'member', 'members', 'segments');
	$node->poll_query_until('shop', "SELECT EXISTS (SELECT FROM customer_groups.sales WHERE external_id LIKE 'crash-$round-%')");
	sleep rand(1.5);
	if ($round % 2)
	{
		$node->stop('immediate');
		$_->{run}->finish for $sales, $others;
		$node->start;
	}
	else
	{
		my @pids = split /\n/, $node->safe_psql('postgres', q{
			SELECT pid FROM pg_stat_activity WHERE usename = 'shop_owner' ORDER BY state = 'active' DESC, random() LIMIT 1});
		kill 'KILL', @pids or die 'nobody to kill';
		$_->{run}->finish for $sales, $others;
		$node->poll_query_until('postgres', 'SELECT true') or die 'the server did not come back';
	}
	for ($sales, $others)
	{
		push @wrong, "round $round: $1" while $_->{err} =~ /((?:ERROR|PANIC):.*)/g;
	}

	# Per client: the transactions whose end it saw.
	my %count = map { $_ => 0 } 0 .. $clients - 1;
	for my $file (glob "$dir/log-$round.*")
	{
		$count{ (split / /, $_)[0] }++ for split /\n/, slurp_file($file);
	}
	my %there;
	for (split /\n/, Shop::sql($node, 'shop', "SELECT external_id, count(*) FROM customer_groups.sales WHERE external_id LIKE 'crash-$round-%' GROUP BY 1"))
	{
		my ($client, $n, $rows) = /^crash-\d+-(\d+)-(\d+)\|(\d+)$/ or die $_;
		push @wrong, "round $round: sale $client-$n is there $rows times" if $rows != 1;
		push @wrong, "round $round: sale $client-$n was never begun" if $n > $count{$client} + 1;
		$unseen++ if $n > $count{$client};
		$there{"$client-$n"} = 1;
	}
	for my $client (keys %count)
	{
		push @wrong, map { "round $round: sale $client-$_ was committed and is lost" } grep { !$there{"$client-$_"} } 1 .. $count{$client};
		$seen += $count{$client};
	}
	Shop::sound($node, 'shop', "crash $round: it is sound");
}
is(join("\n", @wrong), '', 'what was committed is there, once, and no statement failed otherwise');
cmp_ok($seen, '>', 10 * $rounds, "$seen sales were committed before $rounds crashes, $unseen more without the client knowing");

# It goes on from there.
Shop::sql($node, 'shop', q{
	CALL customer_groups.fill_segments();
	SELECT customer_groups.advance_segments();
	INSERT INTO customer_groups.sales (customer_id, amount) SELECT id, 1 FROM customer_groups.customers});
is(Shop::sql($node, 'shop', 'SELECT count(*) FROM customer_groups.segments WHERE pending_since IS NOT NULL'), '0', 'no segment stays pending');
Shop::sound($node, 'shop', 'it stays sound');

$node->stop;
done_testing();
