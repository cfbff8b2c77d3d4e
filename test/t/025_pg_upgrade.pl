# pg_upgrade from this server to a later one keeps every row, owner and right, and the next sale and the next days lead to what they
# lead to without it. NEW_PG_CONFIG is the later server's pg_config; without it, PostgreSQL 17 of Debian's packages, where it is installed
# with its headers (postgresql-17 and postgresql-server-dev-17, of PostgreSQL's own apt repository beside 15). Its release must not be
# earlier than that of this server's minor version: pg_upgrade hands over what only a server of the same day understands.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

my $pg_config = $ENV{PG_CONFIG} // 'pg_config';
my $new_pg_config = $ENV{NEW_PG_CONFIG} // '/usr/lib/postgresql/17/bin/pg_config';
plan skip_all => 'no later PostgreSQL: set NEW_PG_CONFIG' if !-x $new_pg_config;

sub configured
{
	my ($program, $option) = @_;
	my $value = `$program --$option`;
	chomp $value;
	return $value;
}

plan skip_all => 'NEW_PG_CONFIG is of no later version'
  if (configured($new_pg_config, 'version') =~ /(\d+)/)[0] <= (configured($pg_config, 'version') =~ /(\d+)/)[0];
plan skip_all => 'no headers of the later PostgreSQL' if !-e configured($new_pg_config, 'pgxs');

# The extension for the later server, beside it.
my $dir = PostgreSQL::Test::Utils::tempdir;
my ($share, $lib) = (configured($new_pg_config, 'sharedir'), configured($new_pg_config, 'pkglibdir'));
system_or_bail('cp', '-a', "$FindBin::RealBin/../..", "$dir/tree");
system_or_bail('make', '-s', '-C', "$dir/tree", "PG_CONFIG=$new_pg_config", 'with_llvm=no', 'clean');
system_or_bail('make', '-s', '-C', "$dir/tree", "PG_CONFIG=$new_pg_config", 'with_llvm=no', "DESTDIR=$dir/inst", 'install');
my $path = slurp_file("$share/postgresql.conf.sample") =~ /extension_control_path/
  ? "extension_control_path = '$dir/inst$share:\$system'" : "extension_destdir = '$dir/inst'";

my $old = Shop::server('old');
$old->start;
Shop::create($old, 'shop');
Shop::fill($old, 'shop');
Shop::grant_levels($old, 'shop');
my $contents = Shop::contents($old, 'shop');
my $answers = Shop::sql($old, 'shop', $Shop::prices);
$old->stop;

my $new_bin = configured($new_pg_config, 'bindir');
my $new = PostgreSQL::Test::Cluster->new('new', install_path => $new_bin =~ s{/bin$}{}r);
{
	# What the other tests' servers are configured with leads to the extension for this version.
	delete local $ENV{TEMP_CONFIG};
	$new->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
}
$new->append_conf('postgresql.conf', "$path\ndynamic_library_path = '$dir/inst$lib:\$libdir'");

chdir $dir or die $!;
ok( run_log([ "$new_bin/pg_upgrade", '-b', configured($pg_config, 'bindir'), '-B', $new_bin, '-d', $old->data_dir, '-D', $new->data_dir,
			'-p', $old->port, '-P', $new->port, '-s', $old->host ]),
	'pg_upgrade')
  or BAIL_OUT(join "\n", map { slurp_file($_) =~ /^(?:pg_restore|pg_dump): .*|ERROR:.*/mg } glob $new->data_dir . '/pg_upgrade_output.d/*/log/*.log');

$new->start;
is(Shop::contents($new, 'shop'), $contents, 'all rows and sequences are the same');
Shop::sound($new, 'shop', 'the shop is sound');
is(Shop::sql($new, 'shop', $Shop::prices), $answers, 'the prices are the same');
is(Shop::sql($new, 'shop', $Shop::levels), "seller|sell\nviewer|view", 'the access levels are the same');
is($new->safe_psql('shop', $Shop::prices, extra_params => [ '-U', 'viewer' ]), $answers, 'who may ask for prices still may');

# The old server still has its copy of the files. What follows leads to the same in both.
$old->start;
my $last_event = Shop::sql($old, 'shop', 'SELECT max(id) FROM customer_groups.events');
my @next = map {
	my $node = $_;
	$node->safe_psql('shop', q{INSERT INTO customer_groups.sales (customer_id, amount) VALUES (41, 10), (7, 2000)}, extra_params => [ '-U', 'seller' ]);
	Shop::sql($node, 'shop', qq{
		INSERT INTO customer_groups.customers (name) VALUES ('New');
		CALL customer_groups.fill_segments();
		SELECT customer_groups.advance_segments(now() + interval '9 days');
		UPDATE customer_groups.promotions SET value = 20 WHERE id = 1;
		SELECT discount FROM customer_groups.effective_price(NULL, 2);
		SELECT id, name, visits, net_sales FROM customer_groups.customers JOIN customer_groups.customer_facts ON customer_id = id WHERE id IN (7, 41, 42) ORDER BY id;
		SELECT id - $last_event, kind, customer_id, group_id, segment_id FROM customer_groups.events WHERE id > $last_event ORDER BY id});
} $old, $new;
like($next[0], qr/^0\.60\n7\|Customer 7\|.*\n41\|\|\d+\|60\n42\|New\|0\|0$/m, 'the next sales, customers and edits go on from there');
like($next[0], qr/^\d+\|$_\|/m, "and lead to $_") for 'tier_upgraded', 'segment_entered', 'segment_left';
is($next[1], $next[0], 'to the same as without the upgrade');
Shop::sound($new, 'shop', 'it stays sound');

$_->stop for $old, $new;
done_testing();
