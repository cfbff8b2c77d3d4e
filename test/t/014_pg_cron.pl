# The lines of docs/segments.md that schedule advance_segments() and fill_segments() with pg_cron: as scheduled by a role of the level edit, both
# run, by either way in which pg_cron runs its jobs, and fill and advance what there is.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Shop;

my ($libraries) = run_command([ 'pg_config', '--pkglibdir' ]);
plan skip_all => 'this server has no pg_cron' if !-e "$libraries/pg_cron.so";

my ($lines) = slurp_file("$FindBin::RealBin/../../docs/segments.md") =~ /^```psql\n(SELECT cron\.schedule.*?)^```/ms;
ok($lines, 'docs/segments.md has lines for pg_cron');

my $node = Shop::server('main');
$node->start;
Shop::create($node, 'shop');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'shop'\ncron.host = '" . $node->host . q{'});
$node->restart;
$node->safe_psql('shop', 'CREATE EXTENSION pg_cron; CREATE ROLE scheduler LOGIN; GRANT USAGE ON SCHEMA cron TO scheduler');
Shop::sql($node, 'shop', q{
	SET search_path = customer_groups;
	SELECT grant_access('scheduler', 'edit');
	INSERT INTO customers (registered_at) SELECT now() - i * interval '1 day' FROM generate_series(1, 2500) AS i;
	INSERT INTO segments (code, name, tracked, rule) VALUES ('new', 'New', true, 'registered WITHIN 30 DAYS')});

$node->safe_psql('shop', $lines, extra_params => [ '-U', 'scheduler' ]);
is($node->safe_psql('shop', 'SELECT jobname, username, active FROM cron.job ORDER BY jobname'), "advance_segments|scheduler|t\nfill_segments|scheduler|t", 'both are scheduled');
# No test waits for a minute to begin: both run when pg_cron starts.
$node->safe_psql('shop', q{SELECT cron.alter_job(jobid, schedule => '@reboot') FROM cron.job});

for my $workers ('off', 'on')
{
	my $how = $workers eq 'on' ? 'by a background worker' : 'through a connection';

	# Back to before the first fill, and to three days ago.
	Shop::sql($node, 'shop', q{
		SET search_path = customer_groups;
		UPDATE segments SET tracked = false;
		UPDATE segments SET tracked = true;
		UPDATE customer_facts SET tracked_on = NULL;
		DELETE FROM segment_tracking;
		INSERT INTO segment_tracking (reached_on) VALUES (current_date - 3)});
	$node->safe_psql('shop', 'DELETE FROM cron.job_run_details');
	$node->append_conf('postgresql.conf', "cron.use_background_workers = $workers");
	$node->restart;
	$node->poll_query_until('shop', q{SELECT count(*) = 2 FROM cron.job_run_details WHERE status IN ('succeeded', 'failed')})
		or diag($node->safe_psql('shop', 'TABLE cron.job_run_details'));
	is($node->safe_psql('shop', q{SELECT command FROM cron.job_run_details WHERE status = 'succeeded' ORDER BY command}),
		"CALL customer_groups.fill_segments()\nSELECT customer_groups.advance_segments()", "$how: both succeed")
		or diag($node->safe_psql('shop', 'TABLE cron.job_run_details'));
	is($node->safe_psql('shop', 'SELECT count(*) FROM customer_groups.segments WHERE pending_since IS NOT NULL'), '0', "$how: nothing is pending");
	is($node->safe_psql('shop', 'SELECT reached_on >= current_date FROM customer_groups.segment_tracking'), 't', "$how: today is reached");
	cmp_ok($node->safe_psql('shop', 'SELECT count(*) FROM customer_groups.segment_members'), '>=', 29, "$how: the segment has its members");
	Shop::sound($node, 'shop', "$how: and all is sound");
}
done_testing();
