# The files for PGXN, Debian and readers name the version that the extension has, and each other's files.
use strict;
use warnings;

use FindBin;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $tree = "$FindBin::Bin/../..";
my ($version) = slurp_file("$tree/customer_groups.control") =~ /^default_version = '(\d+\.\d+)'$/m;
ok(defined $version, 'the control file has a version of two parts');

# PGXN has semantic versions, of three parts.
my $meta = decode_json(slurp_file("$tree/META.json"));
like($meta->{version}, qr/^\Q$version\E\.\d+$/, 'META.json: version');
is($meta->{provides}{customer_groups}{version}, $meta->{version}, 'META.json: version of the extension');
ok(-e "$tree/$meta->{provides}{customer_groups}{$_}", "META.json: $_") for qw(file docfile);

like(slurp_file("$tree/debian/changelog"), qr/\Apostgresql-customer-groups \(\Q$version\E[-.]/, 'debian/changelog');
my $control = slurp_file("$tree/debian/control.in") =~ s/PGVERSION/15/gr;
is(slurp_file("$tree/debian/control"), $control, 'debian/control is control.in for version 15');
like(slurp_file("$tree/CHANGELOG.md"), qr/\A# Changes\n\n## \Q$version\E\n/, 'CHANGELOG.md begins with it');

# What the licence says is said the same in both places.
my $license = slurp_file("$tree/LICENSE") =~ s/\A.*?^Permission/Permission/msr =~ s/\s+/ /gr;
my $copyright = slurp_file("$tree/debian/copyright") =~ s/\A.*^License: PostgreSQL\n//msr =~ s/^ \.?//mgr =~ s/\s+/ /gr;
is($copyright, $license, 'debian/copyright has the licence');

done_testing();
