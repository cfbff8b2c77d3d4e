# Upgrades: the frozen script of this version is the one that is installed; the version after it, built from the sources as
# docs/upgrading.md says, is the same installed and upgraded to; upgrades keep rows, owners and rights, and go on while sales are booked.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use File::Copy qw(copy);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;
use Traps;

my $tree = "$FindBin::RealBin/../..";
my $dir = PostgreSQL::Test::Utils::tempdir;
my $pg_config = $ENV{PG_CONFIG} // 'pg_config';
my ($version) = slurp_file("$tree/customer_groups.control") =~ /^default_version = '(.*)'/m;
my $next = "$version.1";

# ---------------------------------------------------------------------------------------------
# The frozen script
# ---------------------------------------------------------------------------------------------

my $frozen = "$tree/test/upgrade/customer_groups--$version.sql";
my $installed = "$tree/customer_groups--$version.sql";
plan skip_all => 'nothing is built here' if !-e $installed;
ok(-e $frozen && slurp_file($installed) eq slurp_file($frozen), "the SQL of version $version is as it was frozen")
  or diag("A version that is released does not change: write the next one (docs/upgrading.md). Before its release: make freeze.");
my @versions = map { /--(.*)\.sql/ } glob "$tree/test/upgrade/customer_groups--*.sql";

# ---------------------------------------------------------------------------------------------
# The next version, built of this one's sources, a room more and a script
# ---------------------------------------------------------------------------------------------

my $node = Shop::server('main');
$node->start;
my $path_setting = $node->safe_psql('postgres', q{SELECT name FROM pg_settings WHERE name IN ('extension_destdir', 'extension_control_path')});
if ($path_setting eq '')
{
	note 'this server loads extensions from its own folders only: no next version';
	$node->stop;
	done_testing();
	exit;
}
my $share = $path_setting eq 'extension_destdir' ? '' : `$pg_config --sharedir`;
my $lib = `$pg_config --pkglibdir`;
chomp($share, $lib);
my $old_destdir = $node->safe_psql('postgres', "SHOW $path_setting");
if ($path_setting eq 'extension_control_path') { ($old_destdir) = $old_destdir =~ /^(.*?)\Q$share\E/ }

# The files of the installed version, where the next ones will come to lie beside them.
system_or_bail('cp', '-a', $old_destdir, "$dir/inst");
$node->append_conf('postgresql.conf', $path_setting eq 'extension_destdir'
	? "extension_destdir = '$dir/inst'" : "extension_control_path = '$dir/inst$share:\$system'");
$node->append_conf('postgresql.conf', "dynamic_library_path = '$dir/inst$lib:\$libdir'");
$node->reload;

sub make_next
{
	system_or_bail('cp', '-a', $tree, "$dir/next");
	chdir "$dir/next" or die $!;
	my $change = sub {
		my ($file, $from, $to) = @_;
		my $text = slurp_file($file);
		$text =~ s/$from/$to/ or die "$file: no $from";
		unlink $file;
		append_to_file($file, $text);
	};
	$change->('customer_groups.control', qr/^default_version = .*$/m, "default_version = '$next'");
	$change->('Makefile', qr{(?=\tsrc/catalog/finish\.sql\n)}, "\ttest/upgrade/next.sql \\\n");
	mkdir 'upgrade';
	append_to_file("upgrade/$version--$next.sql", qq{\\echo Use "ALTER EXTENSION customer_groups UPDATE" to load this file. \\quit\nSET LOCAL search_path = pg_catalog, pg_temp;\n}
		. slurp_file('test/upgrade/next.sql'));
	# Only one object holds the version; the rest need not be made again.
	utime 0, 0, 'customer_groups.control';
	utime undef, undef, 'src/catalog/catalog.c';
	my @make = ('make', '-s', "PG_CONFIG=$pg_config", 'with_llvm=no', "DESTDIR=$dir/inst", 'install');
	system_or_bail(@make);
	copy($_, "$dir/inst" . ($share || `$pg_config --sharedir` =~ s/\n//r) . '/extension/') or die $! for glob "$tree/test/upgrade/customer_groups--*.sql";
	chdir $tree or die $!;
	return;
}

sub catalog
{
	my ($database) = @_;
	my ($out, $err);
	IPC::Run::run([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), '-f', "$tree/test/upgrade/catalog.sql" ],
		'>', \$out, '2>', \$err) or die $err;
	return $out;
}

sub same
{
	my ($got, $expected, $name) = @_;
	my %got = map { $_ => 1 } split /\n/, $got;
	my %expected = map { $_ => 1 } split /\n/, $expected;
	my @diff = ((map { "- $_" } grep { !$got{$_} } split /\n/, $expected), (map { "+ $_" } grep { !$expected{$_} } split /\n/, $got));
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($got eq $expected, $name) or diag(join "\n", @diff[ 0 .. ($#diff < 30 ? $#diff : 30) ]);
	return @diff;
}

# The rows that were there are, but for those of stores, which have columns more.
sub kept
{
	my ($rows, $database, $name) = @_;
	my %now = map { $_ => 1 } split /\n/, Shop::contents($node, $database);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(join("\n", grep { !$now{$_} && !/^customer_groups.stores\|/ } split /\n/, $rows), '', $name);
	return;
}

# ---------------------------------------------------------------------------------------------
# An upgrade while sales are booked: sessions with the old library are told to reconnect
# ---------------------------------------------------------------------------------------------

Shop::create($node, 'busy');
Shop::fill($node, 'busy');
Shop::grant_levels($node, 'busy');
my $session = Shop::Session->new($node, 'busy');
is($session->query('SELECT customer_groups.effective_discount(NULL, 1)'), '0.15', 'a session has loaded the library');

append_to_file("$dir/sale.sql", q{
	\set customer random(1, 40)
	INSERT INTO customer_groups.sales (customer_id, amount, external_id) VALUES (:customer, 1, 'load-' || gen_random_uuid());
	SELECT customer_groups.effective_discount(:customer, 1);
});
my ($load_out, $load_err) = ('', '');
my @load = ('pgbench', '-n', '-c', '4', '-j', '2', '-f', "$dir/sale.sql", '-U', 'seller');
my $load = IPC::Run::start([ @load, '-T', '300', $node->connstr('busy') ], '>', \$load_out, '2>', \$load_err);
my $booked = q{SELECT count(*) FROM customer_groups.sales WHERE external_id LIKE 'load-%'};
$node->poll_query_until('busy', "SELECT ($booked) > 20");
make_next();
my $before = Shop::sql($node, 'busy', $booked);
$node->poll_query_until('busy', "SELECT ($booked) > $before + 10") or BAIL_OUT($load_err);
# Sessions that began since the new files are there have the new library, and go on.
my ($late_out, $late_err) = ('', '');
my $late = IPC::Run::start([ @load, '-T', '5', '--max-tries=100', $node->connstr('busy') ], '>', \$late_out, '2>', \$late_err);
$before = Shop::sql($node, 'busy', $booked);
$node->poll_query_until('busy', "SELECT ($booked) > $before + 20") or BAIL_OUT($late_err);
# As the document says: a deadlock undoes it, and it is repeated.
for (1 .. 10)
{
	my ($status, $out, $err) = $node->psql('busy', qq{BEGIN; ALTER EXTENSION customer_groups UPDATE TO '$next';
		SELECT customer_groups.grant_access(role, level) FROM customer_groups.access_levels; COMMIT}, @Shop::as_owner, on_error_stop => 1);
	last if $status == 0;
	BAIL_OUT($err) if $err !~ /deadlock detected/;
}
$before = Shop::sql($node, 'busy', $booked);
$load->finish;
$late->finish;
is($late_err =~ s/^pgbench \(.*\n//r, '', 'no error meets who has the new library');
cmp_ok(Shop::sql($node, 'busy', $booked), '>', $before, 'and sales go on');
like($load_err, qr/the library of extension customer_groups is older than its SQL objects/, 'the load goes on until the upgrade');
unlike($load_err, qr/ERROR:  (?!the library of extension customer_groups is older)/, 'and no other error meets it');
like($session->query('\set VERBOSITY verbose' . "\nSELECT customer_groups.effective_discount(NULL, 1)"),
	qr/ERROR:  55000: the library .* is older .*DETAIL:  The library is of version \Q$version\E, the extension of version \Q$next\E.*HINT:  Reconnect/s,
	'a session with the old library is told to reconnect');
like($session->query('INSERT INTO customer_groups.sales (customer_id, amount) VALUES (1, 1)'), qr/ERROR:  55000/, 'and sells nothing');
$session->quit;
$before = Shop::sql($node, 'busy', $booked);
command_ok([ @load, '-t', '10', $node->connstr('busy') ], 'new sessions sell');
is(Shop::sql($node, 'busy', $booked), $before + 40, 'every sale is there');
Shop::sound($node, 'busy', 'the shop is sound');

# ---------------------------------------------------------------------------------------------
# A fresh install and upgrades from each version that was ever frozen
# ---------------------------------------------------------------------------------------------

Shop::create($node, 'fresh');
my $catalog = catalog('fresh');
like($catalog, qr/^dumped\|$_\|/m, "$_ is dumped") for 'appointments', 'appointments_id_seq', 'sales';
like($catalog, qr/^routine\|customer_groups.is_slot\(integer\)\|shop_owner\|\|shop_owner=X\/shop_owner\|/m, 'a new function is the owner\'s, and nobody else\'s');

for my $from (@versions)
{
	for my $by ('shop_owner', 'superuser')
	{
		my $name = $by eq 'superuser' ? 'by_superuser' : 'by_owner';
		my @as = $by eq 'superuser' ? () : @Shop::as_owner;
		$node->safe_psql('postgres', "DROP DATABASE IF EXISTS $name");
		$node->safe_psql('postgres', "CREATE DATABASE $name");
		$node->safe_psql('postgres', "GRANT CREATE ON DATABASE $name TO shop_owner");
		Shop::sql($node, $name, "CREATE EXTENSION customer_groups VERSION '$from'");
		Shop::fill($node, $name);
		Shop::sound($node, $name, "SQL of $from works with the library of $next");
		my $rows = Shop::contents($node, $name);
		my $answers = Shop::sql($node, $name, $Shop::prices);

		if ($by eq 'shop_owner')
		{
			# A dump names no version: a server that has the next one restores into that.
			$node->command_ok([ 'pg_dump', '-U', 'shop_owner', '-f', "$dir/$from.dump", '-d', $node->connstr($name) ], "$from is dumped");
			$node->safe_psql('postgres', "DROP DATABASE IF EXISTS later");
			$node->safe_psql('postgres', "CREATE DATABASE later");
			$node->safe_psql('postgres', "GRANT CREATE ON DATABASE later TO shop_owner");
			$node->command_ok([ 'psql', '-XqU', 'shop_owner', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/$from.dump", '-d', $node->connstr('later') ], "and restored into $next");
			same(catalog('later'), $catalog, 'with the catalogs of a fresh install');
			kept($rows, 'later', 'the rows');
			is(Shop::sql($node, 'later', $Shop::prices), $answers, 'the prices');
			Shop::sound($node, 'later', 'and sound');
		}

		$node->safe_psql($name, 'ALTER EXTENSION customer_groups UPDATE', @as);
		same(catalog($name), $catalog, "upgraded from $from by the $by, the catalogs are those of a fresh install");
		kept($rows, $name, 'the rows are kept');
		is(Shop::sql($node, $name, $Shop::prices), $answers, 'and the prices');
		Shop::sound($node, $name, 'it is sound');
	}
}

# ---------------------------------------------------------------------------------------------
# Among objects that others have planted
# ---------------------------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN');
for my $by ('shop_owner', 'superuser')
{
	my $name = "hostile_$by";
	my @as = $by eq 'superuser' ? () : @Shop::as_owner;
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql('postgres', "GRANT CREATE ON DATABASE $name TO shop_owner");
	$node->safe_psql($name, 'GRANT CREATE, USAGE ON SCHEMA public TO mallory');
	Shop::sql($node, $name, "CREATE EXTENSION customer_groups VERSION '$version'");
	Shop::fill($node, $name);
	$node->safe_psql($name, Traps::objects('public') . Traps::names('public', ''), extra_params => [ '-U', 'mallory' ]);
	$node->safe_psql($name, $Traps::odd_settings . Traps::names('pg_temp', 'TEMPORARY') . 'SET search_path = pg_temp, public, pg_catalog; ALTER EXTENSION customer_groups UPDATE', @as);
	same(catalog($name), $catalog, "upgraded by the $by among hostile objects, the catalogs are those of a fresh install");
	Shop::sound($node, $name, 'it is sound');
}

# Where the owner lets others create in the schema, they can stop an upgrade, but nothing of theirs becomes a part of the extension.
$node->safe_psql('postgres', 'CREATE DATABASE planted');
$node->safe_psql('postgres', 'GRANT CREATE ON DATABASE planted TO shop_owner');
Shop::sql($node, 'planted', "CREATE EXTENSION customer_groups VERSION '$version'; GRANT CREATE, USAGE ON SCHEMA customer_groups TO mallory");
for my $object ([ 'FUNCTION', 'is_slot(int)', q{RETURNS boolean LANGUAGE sql AS 'SELECT true'} ], [ 'TABLE', 'appointments', '(slot int)' ], [ 'VIEW', 'busy_slots', 'AS SELECT 1 AS slot' ])
{
	my ($kind, $object_name, $definition) = @$object;
	$node->safe_psql('planted', "CREATE $kind customer_groups.$object_name $definition", extra_params => [ '-U', 'mallory' ]);
	my ($status, $out, $err) = $node->psql('planted', 'ALTER EXTENSION customer_groups UPDATE', @Shop::as_owner);
	like($err, qr/ERROR: .*already exists/, "a planted $kind stops the upgrade");
	$node->safe_psql('planted', "DROP $kind customer_groups.$object_name", extra_params => [ '-U', 'mallory' ]);
}
is(Shop::sql($node, 'planted', q{ALTER EXTENSION customer_groups UPDATE; SELECT extversion FROM pg_extension WHERE extname = 'customer_groups'}), $next, 'and without them it succeeds');

# What the comparison finds.
$node->safe_psql('by_owner', 'GRANT SELECT ON customer_groups.stores TO PUBLIC');
$node->safe_psql('by_owner', 'ALTER TABLE customer_groups.appointments OWNER TO viewer');
isnt(catalog('by_owner'), $catalog, 'another owner or grant would be a difference');

# ---------------------------------------------------------------------------------------------
# Access levels outlive an upgrade, and its dump
# ---------------------------------------------------------------------------------------------

is(Shop::sql($node, 'busy', $Shop::levels), "seller|sell\nviewer|view", 'who had an access level has it');
Shop::sql($node, 'busy', 'INSERT INTO customer_groups.appointments (customer_id, slot) VALUES (1, 2)');
$node->command_ok([ 'pg_dump', '-U', 'shop_owner', '-f', "$dir/busy.dump", '-d', $node->connstr('busy') ], 'an upgraded shop is dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->safe_psql('postgres', 'GRANT CREATE ON DATABASE restored TO shop_owner');
$node->command_ok([ 'psql', '-XqU', 'shop_owner', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/busy.dump", '-d', $node->connstr('restored') ], 'and restored');
is(Shop::contents($node, 'restored'), Shop::contents($node, 'busy'), 'with the same rows');
same(catalog('restored'), catalog('busy'), 'and the same catalogs, rights included');
is($node->safe_psql('restored', 'SELECT slot, n FROM customer_groups.busy_slots', extra_params => [ '-U', 'viewer' ]), '2|1', 'a level reads what is new');

$node->stop;
done_testing();
