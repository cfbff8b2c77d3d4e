# Real campaigns as groups: who was in which at ten dates is what the file says, also after all of it is gone; 100,000 customers into one group.
#
# The files are not part of the project: they are looked for in ../shared/data/dunnhumby beside the tree.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IO::Uncompress::Gunzip;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use Shop;

my $data = ($ENV{CUSTOMER_GROUPS_TREE} // '.') . '/../shared/data/dunnhumby';
plan skip_all => 'the campaigns are not there' if !-r "$data/campaigns.csv.gz";

# The rows of a file without quotes and blanks in its values.
sub read_file
{
	my ($name) = @_;
	my $gz = IO::Uncompress::Gunzip->new("$data/$name") or die "$name: $!";
	my @rows;
	while (my $line = <$gz>)
	{
		$line =~ s/["\r\n]//g;
		push @rows, [ split /,/, $line ];
	}
	shift @rows;
	return @rows;
}

my %campaign = map { $_->[0] => { type => $_->[1], from => $_->[2], until => $_->[3] } } read_file('campaign_descriptions.csv.gz');
my @members = read_file('campaigns.csv.gz');
my %households = map { $_->[1] => 1 } @members;
is(scalar keys %campaign, 27, 'there are 27 campaigns');
is(scalar @members, 6589, 'with 6589 memberships');

# "household campaign" of those who were in a campaign on a day, sorted.
sub by_file
{
	my ($day) = @_;
	return join "\n", sort map { "$_->[1] $_->[0]" }
		grep { $campaign{ $_->[0] }{from} le $day && $day le $campaign{ $_->[0] }{until} } @members;
}

my $node = Shop::server('main');
$node->append_conf('postgresql.conf', "fsync = off\ntimezone = 'UTC'");
$node->start;
Shop::create($node, 'shop');

sub sql { return Shop::sql($node, 'shop', @_); }

sub lines { return join "\n", sort split /\n/, shift; }

my $dir = PostgreSQL::Test::Utils::tempdir;
append_to_file("$dir/campaigns", join '', map { join("\t", $_, @{ $campaign{$_} }{qw(type from until)}) . "\n" } sort keys %campaign);
append_to_file("$dir/households", join '', map { "$_\n" } sort keys %households);
append_to_file("$dir/members", join '', map { "$_->[0]\t$_->[1]\n" } @members);

sql(qq{
	CREATE TEMPORARY TABLE campaigns (id text, type text, from_day date, until_day date);
	CREATE TEMPORARY TABLE memberships (campaign text, household text);
	\\copy campaigns FROM '$dir/campaigns'
	\\copy memberships FROM '$dir/members'
	\\copy customer_groups.customers (external_id) FROM '$dir/households'
	INSERT INTO customer_groups.groups (code, name, starts_on, ends_on)
	SELECT 'campaign ' || id, type, from_day, until_day FROM campaigns;
	INSERT INTO customer_groups.members (customer_id, group_id, source, valid_from, valid_until)
	SELECT c.id, g.id, 'bulk', s.from_day, s.until_day
	FROM memberships AS m
	JOIN campaigns AS s ON s.id = m.campaign
	JOIN customer_groups.groups AS g ON g.code = 'campaign ' || m.campaign
	JOIN customer_groups.customers AS c ON c.external_id = m.household;
});
is(sql('SELECT count(*) FROM customer_groups.members'), 6589, 'all of them are loaded');
is(sql(q{SELECT count(*) FROM customer_groups.events WHERE kind = 'member_added'}), 6589, 'and in the log');
Shop::sound($node, 'shop', 'the campaigns are sound');

# The first and the last day of a campaign are among them.
my @days = qw(2016-10-01 2016-11-14 2017-01-01 2017-03-02 2017-03-03 2017-04-09 2017-04-10 2017-08-08 2017-12-24 2018-06-30);

sub groups_of
{
	my ($day, $time) = @_;
	return lines(sql(qq{
		SELECT c.external_id || ' ' || substr(g.group_code, 10)
		FROM customer_groups.customers AS c, customer_groups.groups_of(c.id, '$day $time') AS g}));
}

sub members_of
{
	my ($day, $time) = @_;
	return lines(sql(qq{
		SELECT c.external_id || ' ' || substr(g.code, 10)
		FROM customer_groups.groups AS g, customer_groups.members_of(g.code, '$day $time') AS m
		JOIN customer_groups.customers AS c ON c.id = m.customer_id}));
}

my $n = 0;
for my $day (@days)
{
	my $expected = by_file($day);
	$n++ if $expected ne '';
	is(groups_of($day, '00:00+00'), $expected, "groups_of on $day");
	is(members_of($day, '23:59:59.999999+00'), $expected, "members_of on $day");
}
cmp_ok($n, '>=', 6, 'on most of these days there were campaigns');

# The dates of the groups play no part, in whatever way the memberships end: the past stays.
my $since = sql('SELECT clock_timestamp()');
sql(q{UPDATE customer_groups.groups SET starts_on = '2000-01-01', ends_on = '2000-01-01', use_pricing = false});
sql(q{SELECT customer_groups.remove_members('campaign 18', ARRAY(SELECT customer_id FROM customer_groups.members))});
sql(q{DELETE FROM customer_groups.members AS m USING customer_groups.groups AS g WHERE g.id = m.group_id AND g.code = 'campaign 8'});
sql(q{SELECT customer_groups.delete_group('campaign 13')});
sql(q{DELETE FROM customer_groups.groups WHERE code IN ('campaign 1', 'campaign 30')});
is(groups_of($_, '12:00+00'), by_file($_), "groups_of on $_, when campaigns are gone") for @days;
is(sql(qq{SELECT count(*) FROM customer_groups.events WHERE kind = 'member_removed' AND at > '$since'}),
	scalar(grep { $_->[0] =~ /^(?:18|8|13|1|30)$/ } @members), 'each of their members was taken out once');
Shop::sound($node, 'shop', 'what is left is sound');

# One hundred thousand.
sql(q{INSERT INTO customer_groups.groups (code, name) VALUES ('everybody', 'Everybody'), ('others', 'Others')});
sql(q{INSERT INTO customer_groups.customers (name) SELECT 'Customer ' || i FROM generate_series(1, 100000) AS i});

sub timed
{
	my ($statement, $expected, $name) = @_;
	my $start = time;
	my $result = sql($statement);
	my $seconds = time - $start;
	note(sprintf '%s: %.1f s', $name, $seconds);
	is($result, $expected, $name);
	cmp_ok($seconds, '<', 60, "$name: seconds, not minutes");
	return;
}
my $all = q{ARRAY(SELECT id FROM customer_groups.customers WHERE name LIKE 'Customer %')};
timed("SELECT customer_groups.add_members('everybody', $all)", '100000', '100,000 customers into a group');
timed("SELECT customer_groups.add_members('everybody', $all)", '0', 'the same once more');
timed("SELECT customer_groups.move_members($all, 'everybody', 'others')", '100000', '100,000 to another group');
timed("SELECT customer_groups.remove_members('others', $all)", '100000', '100,000 out of a group');
timed("INSERT INTO customer_groups.members (customer_id, group_id) SELECT c.id, g.id FROM customer_groups.groups AS g, unnest($all) AS c (id) WHERE g.code = 'everybody'",
	'', '100,000 by plain SQL');
timed("SELECT count(*) FROM customer_groups.members_of('everybody', clock_timestamp())", '100000', 'a list of 100,000 as of now');
timed("SELECT customer_groups.delete_group('everybody')", '', 'a group of 100,000 is deleted');
is(sql(q{SELECT count(*) FROM customer_groups.events WHERE kind LIKE 'member%' AND detail ->> 'code' IN ('everybody', 'others')}),
	'600000', 'and all of it is in the log');
Shop::sound($node, 'shop', 'all is sound');

$node->stop;
done_testing();
