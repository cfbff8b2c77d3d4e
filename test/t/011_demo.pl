# script/demo shows its shop, loads purchase logs of several forms, counts what it refuses and why,
# and leaves each customer in the tier that plain SQL over the sales finds.
use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tree = "$FindBin::Bin/../..";
my $logs = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE shop_owner LOGIN');

# A new database for each demo, where a role without other rights runs it.
my $database = 'none';
my $count = 0;

sub demo
{
	my @arguments = @_;
	my ($stdout, $stderr) = ('', '');

	$database = 'demo_' . ++$count;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql('postgres', "GRANT CREATE ON DATABASE $database TO shop_owner");
	local @ENV{qw(PGHOST PGPORT PGUSER PGDATABASE)} =
		($node->host, $node->port, 'shop_owner', $database);
	IPC::Run::run([ "$tree/script/demo", '--server', @arguments ],
		'<', \undef, '>', \$stdout, '2>', \$stderr);
	return ($? >> 8, $stdout, $stderr);
}

sub answer
{
	return $node->safe_psql($database, "SET search_path = customer_groups; $_[0]");
}

sub write_log
{
	my ($name, $text) = @_;
	open my $file, '>:raw', "$logs/$name" or die "$name: $!";
	print $file $text;
	close $file or die "$name: $!";
	return "$logs/$name";
}

# The tiers as a query finds them in the sales alone; it has no refunds to cope with.
my $wrong_tiers = q{
	SELECT count(*)
	FROM (SELECT customer_id, CASE WHEN sum(amount) >= 1000 THEN 'gold' WHEN sum(amount) >= 500 THEN 'silver'
								   WHEN sum(amount) >= 100 THEN 'bronze' END AS tier
		  FROM sales GROUP BY customer_id) s
	FULL JOIN (SELECT m.customer_id, g.code AS tier FROM members m JOIN groups g ON g.id = m.group_id) m
		USING (customer_id)
	WHERE s.tier IS DISTINCT FROM m.tier};

# The shop.
my ($status, $shop, $err) = demo();
is($status, 0, 'the shop is shown');
is($err, '', 'without a word beside');
like($shop, qr/found\n0 differences\.\n\z/, 'and without differences');
unlike($shop, qr/INSERT \d|NOTICE|rows?\)$|^SET$/m, 'and without noise');
like($shop, qr/^Ben +Alto boots +149\.00 149\.00 113\.24 /m, 'a price before and after an upgrade');
my ($again_status, $again) = demo();
is($again, $shop, 'a second time it shows the same');

# A log with a header line, quotes, DOS line ends and all that can be wrong with a row.
my $bad = write_log('bad.csv', join "\r\n",
	"\xEF\xBB\xBF\"customer_id\",\"store\",\"Date\",\"amount\"",
	'"Miller, ""Bob""",1,1997-01-31,99.99',
	'7,1,19970201,1000.00',
	'7,1,1997-02-02 10:30:00,-250.50',
	'7,1,1997-02-30,5',
	'7,1,soon,5',
	'7,1,1997-02-03,"1,5"',
	'7,1,1997-02-03,NaN',
	'7,1,1997-02-03,',
	',1,1997-02-03,5',
	'7,1,1997-02-03',
	'"7,1,1997-02-03,5',
	"\xFF,1,1997-02-03,5",
	'8,1,1997-02-03T23:30:00+01:00,1e2',
	'', '8,1,1997-02-04,0.005', '');
my $out;
($status, $out, $err) = demo('--sales', $bad);
is($status, 0, 'a log with bad rows is loaded');
is($err, '', 'without a word beside');
like($out, qr/^ +customer is customer_id, date is Date, amount is amount$/m, 'it says which columns it took');
like(
	$out,
	qr/^9 rows refused: 3 amount is not a number, 2 date is not a date, 1 customer is missing, 1 not in UTF-8, 1 quotes do not match, 1 too few columns \(the first is line 5\)$/m,
	'it says how many rows it refused and why');
like($out, qr/^purchases loaded +5$/m, 'and how many it loaded');
like($out, qr/^of these refunds, negative in the log +1$/m, 'refunds among them');
like($out, qr/^of these rounded to cents +1$/m, 'and rounded amounts');
is( answer(q{
		SELECT c.external_id, s.kind, s.amount, s.sold_at AT TIME ZONE 'UTC', c.registered_at AT TIME ZONE 'UTC'
		FROM sales s JOIN customers c ON c.id = s.customer_id ORDER BY s.id}),
	join("\n",
		'Miller, "Bob"|product|99.99|1997-01-31 00:00:00|1997-01-31 00:00:00',
		'7|product|1000.00|1997-02-01 00:00:00|1997-02-01 00:00:00',
		'7|refund|-250.50|1997-02-02 10:30:00|1997-02-01 00:00:00',
		'8|product|100.00|1997-02-03 22:30:00|1997-02-03 22:30:00',
		'8|product|0.01|1997-02-04 00:00:00|1997-02-03 22:30:00'),
	'the sales are those of the log');
is(answer('SELECT count(*) FROM check_integrity()'), '0', 'nothing differs');

# Blanks between the fields, no header line, compressed, own columns and tiers, several chunks.
my ($purchases, $cents) = ('', 0);
for my $i (1 .. 20_001)
{
	$purchases .= sprintf " %05d  %d 2020%02d%02d   %d.25\n",
		$i % 501, $i, 1 + $i % 12, 1 + $i % 28, $i % 7;
	$cents += 100 * ($i % 7) + 25;
}
my $plain = write_log('plain.txt', $purchases);
system_or_bail('gzip', $plain);
($status, $out, $err) = demo('--sales', "$plain.gz", '--date=3', '--amount', '4', '--tiers', '10,120.50');
is($status, 0, 'a log without header line is loaded');
like($out, qr/^ +customer is column 1, date is column 3, amount is column 4$/m, 'from the columns named');
is(answer('SELECT count(*), count(DISTINCT customer_id), (100 * sum(amount))::bigint FROM sales'),
	"20001|501|$cents", 'all of it');
is( answer(q{SELECT string_agg(name || ' ' || upgrade_threshold, ', ' ORDER BY id) FROM groups}),
	'Bronze 10, Silver 120.50', 'with the tiers asked for');
is( answer(q{
		SELECT count(*) FROM customer_facts f
		LEFT JOIN (members m JOIN groups g ON g.id = m.group_id) ON m.customer_id = f.customer_id
		WHERE g.code IS DISTINCT FROM
			CASE WHEN f.net_sales >= 120.50 THEN 'silver' WHEN f.net_sales >= 10 THEN 'bronze' END}),
	'0', 'which the customers are in');

# Nothing to load.
my $none = write_log('none.csv', "customer,date,amount\nx,never,1\n");
($status, $out, $err) = demo('--sales', $none);
is($status, 1, 'a log of which nothing can be loaded is a failure');
like($out, qr/^1 row refused: 1 date is not a date \(line 2\)$/m, 'that says why');

# Bad use is told before anything is done.
my $good = write_log('good.csv', "who,day,paid\na,20200101,5\n");
my $odd = write_log('odd.csv', "date,paid\n20200101,5\n");
for my $case (
	[ [ '--sales', "$logs/missing" ], qr/there is no file/ ],
	[ [ '--sales', $logs ], qr/is not a file that can be read/ ],
	[ [ '--sales', $good, '--amount', 'price' ], qr/has no column price; its columns are who, day, paid/ ],
	[ [ '--sales', $good, '--amount', '4' ], qr/has no column 4/ ],
	[ [ '--sales', $odd ], qr/cannot tell which column is the customer/ ],
	[ [ '--sales', $good, '--tiers', '5,5' ], qr/ascending numbers/ ],
	[ ['--sales'], qr/--sales needs a value/ ],
	[ [ '--amount', '3' ], qr/go with --sales/ ],
	[ ['--frobnicate'], qr/unknown argument --frobnicate/ ])
{
	my ($arguments, $message) = @$case;
	($status, $out, $err) = demo(@$arguments);
	my $shown = "@$arguments" =~ s/\Q$logs\E/LOGS/gr;
	is($status, 2, "bad use: $shown");
	like($err, $message, 'and why');
}
is($node->safe_psql($database, q{SELECT count(*) FROM pg_extension WHERE extname = 'customer_groups'}),
	'0', 'nothing was done');
($status, $out, $err) = demo('--help');
is($status, 0, '--help');
like($out, qr/^usage: script\/demo/, 'tells the usage');

# A real log.
SKIP:
{
	my $beside = $ENV{CUSTOMER_GROUPS_TREE} // $tree;
	my $cdnow = "$beside/../shared/data/cdnow/CDNOW_master.txt.gz";
	skip 'there is no CDNOW log beside the tree', 5 unless -r $cdnow;

	($status, $out, $err) = demo('--sales', $cdnow);
	is($status, 0, 'the CDNOW log is loaded');
	like($out, qr/^0 rows refused$/m, 'all of it');
	like($out, qr/^purchases loaded +69,659\ncustomers +23,570\nsum\(net_sales\) +2,500,315\.63$/m, 'with its sums');
	is( answer('SELECT count(*), count(DISTINCT customer_id), sum(amount) FROM sales'),
		'69659|23570|2500315.63', 'which are those of the sales');
	is(answer($wrong_tiers), '0', 'and every customer is in the right tier');
}

$node->stop;
done_testing();
