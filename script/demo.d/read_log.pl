# Reads a purchase log from the standard input and writes psql commands that load it:
#
#   perl read_log.pl [--check] [--customer NAME|NUMBER] [--date NAME|NUMBER] [--amount NAME|NUMBER]
#
# It knows how lines become fields and which three fields are wanted; whether a field is a date or a
# number is decided in load.sql. --check prints only the chosen columns. When the columns cannot be
# found it says so and exits with 2.
use strict;
use warnings;

my $chunk = 10_000;
# Progress of a load that nobody watches goes to a log file: a line now and then is enough there.
my $report = -t STDERR ? $chunk : 10 * $chunk;

# The usual headings of each column, the likeliest first.
my @wanted = qw(customer date amount);
my %headings = (
	customer => [qw(customer_id customer customerid household_id household client_id user_id)],
	date => [qw(date transaction_timestamp timestamp sold_at order_date purchase_date day time)],
	amount => [qw(dollar_value amount sales_value value total price dollars)]);

sub refuse
{
	print STDERR "demo: @_\n";
	exit 2;
}

my (%asked, $check);
while (defined(my $option = shift @ARGV))
{
	if ($option eq '--check') { $check = 1; }
	elsif ($option =~ /^--(customer|date|amount)$/) { $asked{$1} = shift @ARGV; }
	else { refuse("unknown option $option"); }
}

my $line_no = 0;

# The next line that is not blank, without its end.
sub next_line
{
	while (defined(my $line = <STDIN>))
	{
		$line_no++;
		$line =~ s/^\xEF\xBB\xBF// if $line_no == 1;
		$line =~ s/[\r\n]+\z//;
		return $line if $line =~ /\S/;
	}
	return;
}

my $line = next_line() // refuse('the log is empty');
my ($separator) = $line =~ /([,;\t])/;

# The fields of a line; nothing when its quotes do not match. A quoted field ends on its line.
sub fields
{
	my ($rest) = @_;
	my @fields;

	if (!defined $separator)
	{
		$rest =~ s/^\s+//;
		return split /\s+/, $rest;
	}
	while (1)
	{
		if ($rest =~ s/^\s*"((?:[^"]|"")*)"[ ]*(?=\Q$separator\E|\z)//)
		{
			push @fields, $1 =~ s/""/"/gr;
		}
		else
		{
			$rest =~ s/^([^\Q$separator\E]*)//;
			my $field = $1;
			return if $field =~ /^\s*"/;
			$field =~ s/^\s+|\s+\z//g;
			push @fields, $field;
		}
		return @fields unless $rest =~ s/^\Q$separator\E//;
	}
}

# ---------------------------------------------------------------------------------------------
# Which columns
# ---------------------------------------------------------------------------------------------

my @first = fields($line) or refuse('the quotes of the first line do not match');
# No heading is a number or a date, and every line of purchases has one.
my $has_header = !grep { m{^[-+]?[0-9.][-+0-9.:/ TZ]*\z} } @first;
my @names = $has_header ? map { lc } @first : ();
my %place;

sub name_of
{
	my ($place) = @_;
	return $has_header ? $first[$place] : 'column ' . ($place + 1);
}

sub find
{
	my ($name) = @_;
	return (grep { $names[$_] eq lc $name } 0 .. $#names)[0];
}

my $columns = $has_header ? 'its columns are ' . join(', ', @first)
	: 'it has ' . @first . ' columns and no header line';

for my $want (grep { defined $asked{$_} } @wanted)
{
	my $place = find($asked{$want});
	$place //= $asked{$want} - 1 if $asked{$want} =~ /^[1-9][0-9]{0,5}$/;
	refuse("the log has no column $asked{$want}; $columns") if !defined $place || $place > $#first;
	$place{$want} = $place;
}
for my $want (grep { !defined $place{$_} } @wanted)
{
	($place{$want}) = grep { defined } map { find($_) } @{ $headings{$want} };
}
for my $i (grep { !defined $place{ $wanted[$_] } } 0 .. $#wanted)
{
	my $want = $wanted[$i];
	refuse("cannot tell which column is the $want: give --$want NAME or NUMBER; $columns")
		if $i > $#first || grep { defined && $_ == $i } values %place;
	$place{$want} = $i;
}

if ($check)
{
	print join(', ', map { "$_ is " . name_of($place{$_}) } @wanted), "\n";
	exit;
}

# ---------------------------------------------------------------------------------------------
# The rows
# ---------------------------------------------------------------------------------------------

sub escaped
{
	my ($text) = @_;
	$text =~ s/\\/\\\\/g;
	$text =~ s/\t/\\t/g;
	return $text;
}

# What COPY could not take would end the load: such a row goes on with the reason alone.
sub row
{
	my @fields = fields($line);
	my $bytes = $line;
	my $problem;

	if (!@fields) { $problem = 'quotes do not match'; }
	elsif ($line =~ /\0/ || !utf8::decode($bytes)) { $problem = 'not in UTF-8'; }
	elsif (grep { $_ > $#fields } values %place) { $problem = 'too few columns'; }
	return join("\t", $line_no, '', '', '', $problem) if defined $problem;
	return join("\t", $line_no, (map { escaped($fields[$_]) } @place{@wanted}), '\N');
}

my $rows = 0;
my $copy = "COPY pg_temp.log_rows FROM STDIN;\n";
my $book = "\\.\nCALL pg_temp.book_rows();\n";
my $count = -t STDERR ? '\warn -n ' . q('\r   ') : '\warn ';

$line = next_line() if $has_header;
print $copy;
while (defined $line)
{
	print row(), "\n";
	$rows++;
	if ($rows % $chunk == 0)
	{
		print $book;
		print "$count '$rows rows so far'\n" if $rows % $report == 0;
		print $copy;
	}
	$line = next_line();
}
print $book;
print '\warn -n ', q('\r                              \r'), "\n" if -t STDERR;
