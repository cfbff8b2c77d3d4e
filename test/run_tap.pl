# Runs TAP test files, with their failures on the standard output, and counts them:
#
#   perl run_tap.pl pgtap|perl COUNTS ROOT FILE...
#
# FILEs are relative to ROOT. As soon as one is done, a line "PASSED FAILED NAME" is appended to
# COUNTS. In a file that dies or runs fewer tests than it planned the rest, and at least one, have
# failed. pgTAP files are run by psql, which finds its server by the PG variables.
use strict;
use warnings;

use File::Basename qw(fileparse);
use TAP::Harness;

my ($kind, $counts, $root, @files) = @ARGV;
my %options = (failures => 1, comments => 1, timer => 1, lib => [@INC]);

if ($kind eq 'pgtap')
{
	require TAP::Parser::SourceHandler::pgTAP;
	$options{sources} = { pgTAP => { suffix => '.sql' } };
}

my $harness = TAP::Harness->new(\%options);

$harness->callback(
	after_test => sub {
		my ($job, $parser) = @_;
		my ($name) = fileparse($job->[0], qr/\.[^.]*/);
		my $passed = $parser->passed;
		my $failed = $parser->failed;
		my $missing = ($parser->tests_planned // 0) - $parser->tests_run;

		$failed += $missing if $missing > 0;
		$failed = 1 if $failed == 0 && $parser->has_problems;
		open my $out, '>>', $counts or die "$counts: $!";
		print $out "$passed $failed $name\n";
		close $out or die "$counts: $!";
	});

chdir $root or die "$root: $!";
$harness->runtests(@files);
