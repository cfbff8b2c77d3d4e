# A role that has nothing but CREATE on a database installs the extension, sees it and drops it.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE shop_owner LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE shop');

my @as_owner = (extra_params => [ '-U', 'shop_owner' ]);

my ($status, $out, $err) = $node->psql('shop', 'CREATE EXTENSION customer_groups', @as_owner);
isnt($status, 0, 'without CREATE on the database the extension is refused');
like($err, qr/permission denied/, 'with the reason');

$node->safe_psql('postgres', 'GRANT CREATE ON DATABASE shop TO shop_owner');
$node->safe_psql('shop', 'CREATE EXTENSION customer_groups', @as_owner);
like($node->safe_psql('shop', '\dx', @as_owner),
	qr/^customer_groups\|.*\|customer_groups\|/m, '\dx shows it');
is( $node->safe_psql('shop', q{
		SELECT count(*) FROM pg_catalog.pg_class
		WHERE relnamespace = 'customer_groups'::regnamespace AND relkind IN ('r', 'p', 'S')
		AND relowner <> 'shop_owner'::regrole}, @as_owner),
	'0', 'its tables belong to the role');

$node->safe_psql('shop', 'DROP EXTENSION customer_groups', @as_owner);
is($node->safe_psql('shop', 'SELECT count(*) FROM pg_catalog.pg_extension'),
	'1', 'and it can be dropped');

$node->stop;
done_testing();
