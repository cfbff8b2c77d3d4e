# A load at the three isolation levels, on 1,000 hot customers and on all: sales by 16 clients, mixed with prices, edits, memberships and
# reviews of segments, where clients retry what serialization or a deadlock has undone. No sale is lost or counted twice, no single
# statement meets a deadlock, nothing fails otherwise, and the shop is sound. LOAD_SECONDS is the time of each of the six loads,
# LOAD_CUSTOMERS the size of the shop; script/load runs it long and shows the numbers.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

my $seconds = $ENV{LOAD_SECONDS} // 2;
my $customers = $ENV{LOAD_CUSTOMERS} // 5000;
my $hot = 1000;
my $dir = PostgreSQL::Test::Utils::tempdir;

my $node = Shop::server('main');
# The SQLSTATE of each error is read from the server's log.
$node->append_conf('postgresql.conf', "log_statement = none\nlog_line_prefix = '%e '\nlog_lock_waits = off\nautovacuum = on\nmax_connections = 60");
$node->start;
Shop::create($node, 'shop');
Shop::fill($node, 'shop');
Shop::sql($node, 'shop', qq{
	SET search_path = customer_groups;
	INSERT INTO customers (registered_at) SELECT now() - i % 1000 * interval '1 day' FROM generate_series(42, $customers) AS i;
	INSERT INTO members (customer_id, group_id) SELECT id, 4 FROM customers WHERE id % 10 = 1 ON CONFLICT DO NOTHING;
	CALL fill_segments()});
$node->safe_psql('shop', 'ANALYZE');

# Each of these is one statement, and so must not meet a deadlock.
append_to_file("$dir/sell.sql", q{
	\set customer random(1, :range)
	\set item random(1, 20)
	SELECT customer_groups.record_sale(:customer, jsonb_build_array(jsonb_build_object('item', :item, 'quantity', 2)), NULL, external_id => gen_random_uuid()::text);
});
append_to_file("$dir/insert.sql", q{
	\set customer random(1, :range)
	INSERT INTO customer_groups.sales (customer_id, amount) VALUES (:customer, 7);
});
append_to_file("$dir/insert_many.sql", q{
	\set a random(1, :range)
	\set b random(1, :range)
	\set c random(1, :range)
	INSERT INTO customer_groups.sales (customer_id, amount) VALUES (:a, 7), (:b, 7), (:c, 7);
});
append_to_file("$dir/price.sql", q{
	\set customer random(1, :range)
	SELECT * FROM customer_groups.effective_discounts(:customer, ARRAY[1, 2, 3, 4, 5]);
});
append_to_file("$dir/cart.sql", q{
	\set customer random(1, :range)
	SELECT * FROM customer_groups.price_cart(:customer, '[{"item": 7, "quantity": 2}, {"item": 9, "quantity": 1}]');
});
append_to_file("$dir/promotion.sql", q{
	\set id random(1, 3)
	\set value random(1, 20)
	UPDATE customer_groups.promotions SET value = :value WHERE id = :id;
});
append_to_file("$dir/member.sql", q{
	\set customer random(1, :range)
	SELECT customer_groups.add_member(:customer, 'club');
	\set customer random(1, :range)
	SELECT customer_groups.remove_member(:customer, 'club');
});
append_to_file("$dir/members.sql", q{
	\set first random(1, :range)
	SELECT customer_groups.add_members('club', ARRAY(SELECT id FROM customer_groups.customers WHERE id >= :first ORDER BY id LIMIT 5));
});
append_to_file("$dir/segments.sql", q{
	\set days random(1, 9)
	UPDATE customer_groups.segments SET rule = format('visits IN LAST %s DAYS >= 1', :days)::customer_groups.segment_rule WHERE code = 'many';
	CALL customer_groups.fill_segments(100);
	SELECT customer_groups.advance_segments();
	\sleep 500 ms
});
my %rows = (sell => 1, insert => 1, insert_many => 3);

# With the number of sales and their sum so far.
my $sums = q{
	SELECT (SELECT count(*) FROM customer_groups.sales), (SELECT sum(amount * coalesce(rate, 1)) FROM customer_groups.sales) = (SELECT sum(net_sales) FROM customer_groups.customer_facts)};

for my $range ($hot, $customers)
{
	for my $level ('read committed', 'repeatable read', 'serializable')
	{
		my $name = "$level, $range customers";
		my ($before) = split /\|/, Shop::sql($node, 'shop', $sums);
		my $log = -s $node->logfile;
		local $ENV{PGOPTIONS} = "-c default_transaction_isolation=" . $level =~ s/ /\\ /gr;
		my @runs = map {
			my ($clients, @scripts) = @$_;
			my $run = { out => '', err => '' };
			$run->{run} = IPC::Run::start([ 'pgbench', '-n', '-T', $seconds, '-c', $clients, '-j', 1, '-D', "range=$range", '-U', 'shop_owner',
					'--max-tries=10000', '--failures-detailed', (map { ('-f', "$dir/$_.sql") } @scripts), $node->connstr('shop') ],
				'<', \undef, '>', \$run->{out}, '2>', \$run->{err});
			$run;
		} [ 16, 'sell', 'insert', 'insert_many', 'price', 'cart' ], [ 2, 'promotion', 'member', 'members' ], [ 1, 'segments' ];
		$_->{run}->finish for @runs;
		delete $ENV{PGOPTIONS};

		is(join('', map { $_->{err} =~ /(pgbench: error: .*)/g } @runs), '', "$name: nothing fails but what is tried again");
		my ($booked, %done) = (0);
		for my $out (map { $_->{out} } @runs)
		{
			$done{$1} = $2 while $out =~ m{SQL script \d+: \S*/(\w+)\.sql\n - weight: .*\n - (\d+) transactions}g;
			$done{segments} = $1 if $out =~ m{transaction type: \S*segments.sql\n(?:.*\n)*?number of transactions actually processed: (\d+)};
		}
		$booked += $rows{$_} * ($done{$_} // 0) for keys %rows;
		cmp_ok($booked, '>', 0, "$name: there are sales");
		my ($after, $same) = split /\|/, Shop::sql($node, 'shop', $sums);
		is($after - $before, $booked, "$name: each committed sale is there, and no other");
		is($same, 't', "$name: the facts add up to the sales");
		Shop::sound($node, 'shop', "$name: it is sound");

		my %states;
		$states{$_}++ for slurp_file($node->logfile, $log) =~ /^(\w{5}) ERROR:/mg;
		is($states{'40P01'} // 0, 0, "$name: no deadlock");
		is(join(' ', grep { !/^40(001|P01)$/ } sort keys %states), '', "$name: no error of another kind");
		note("$name, $seconds s: ", join(', ', map { "$_ $done{$_}" } sort keys %done), '; errors: ',
			join(', ', map { "$_ $states{$_}" } sort keys %states) || 'none');
	}
}

$node->stop;
done_testing();
