# script/bench comes to its end in a small shop, in all of its parts, where it finds that the peers answer the same,
# and has all rows in its table. What it measures there means nothing and is not looked at.
use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use Test::More;

use lib $FindBin::Bin;
use Shop;

my $script = "$FindBin::Bin/../../script/bench";
my $node = Shop::server('main');
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
local @ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, 'postgres');

sub bench
{
	my ($stdout, $stderr) = ('', '');
	IPC::Run::run([ $script, @_ ], '<', \undef, '>', \$stdout, '2>', \$stderr);
	return ($? >> 8, $stdout, $stderr);
}

my @small = qw(--server --scale 0.001 --rounds 1 --promotions 10,100 --customers 1000 --segments 1,10 --each 2 --sales 2000);
my ($status, $out, $err) =
	bench(@small, qw(prices promotions groups sales members segments growth concurrency bloat));
is($status, 0, 'it comes to its end');
is($err, '', 'without a word beside');

my ($table) = $out =~ /^what +measured +peer +ratio +bar +met\n(.*)\z/ms;
my @rows = split /\n/, $table // '';
is(scalar(grep { / (?:yes|NO)$/ } @rows), 15, 'every bar has a row');
my $others = 4;
my $growth = 2 * 2 + 5 + 2 * 2;
my $concurrency = 2 * (3 + 4);
my $bloat = 6 + 5 * 2;
is(scalar(@rows), 15 + $others + $growth + $concurrency + $bloat, 'so has every other figure');
is_deeply([ grep { !/^\S.*?  +[\d.]+ \S+  / } @rows ], [], 'all are measured');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname LIKE 'bench%'}), '0', 'no database stays');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf'}), '0', 'no setting stays');

# Bad use is told before anything is done.
($status, $out, $err) = bench('--server', 'nonsense');
is($status, 2, 'an unknown part is refused');
like($err, qr/^usage: script\/bench/, 'with the usage');

done_testing();
