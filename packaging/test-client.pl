#!/usr/bin/perl
# HTTP for packaging/test-package.sh, in what perl-base alone brings.
#   call METHOD PATH [TOKEN [BODY]]   prints the status and the body
#   load STOPFILE                     asks for /liveness until STOPFILE is there, each request on a connection of its
#                                     own, four at a time; prints how many were refused and how many were
#                                     accepted but cut
#   upstream PORT SECONDS             an upstream that answers after SECONDS
use strict;
use warnings;
use IO::Socket::INET;
use Time::HiRes qw(time sleep);

my $gateway = '127.0.0.1:8080';

sub ask {
    my ($method, $path, $token, $body) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => $gateway, Timeout => 30) or return "connect: $!";
    $body //= '';
    my $login = ($token // '') eq '' ? '' : "Authorization: Bearer $token\r\n";
    local $SIG{PIPE} = 'IGNORE';
    local $SIG{ALRM} = sub { die "30 seconds without an answer\n" };
    my $answer = eval {
        alarm 30;
        print $socket "$method $path HTTP/1.1\r\nHost: $gateway\r\n${login}Content-Type: application/json\r\n"
            . 'Content-Length: ' . length($body) . "\r\nConnection: close\r\n\r\n$body";
        $socket->flush;
        local $/;
        <$socket>;
    };
    alarm 0;
    return $@ if $@;
    return "no answer: $!" unless ($answer // '') =~ m{^HTTP/1.1 (\d+).*?\r\n\r\n(.*)}s;
    return "$1 $2";
}

sub worker {
    my ($stop, $pipe) = @_;
    my ($count, $refused, $cut, $longest, $first) = (0, 0, 0, 0, '');
    until (-e $stop) {
        my $began = time;
        my $answer = ask('GET', '/platform/monitor/liveness');
        my $took = time - $began;
        $longest = $took if $took > $longest;
        $count++;
        next if $answer =~ /^200 /;
        if ($answer =~ /^connect:/) { $refused++ } else { $cut++ }
        $first = $answer =~ s/\s+/ /gr if $first eq '';
    }
    print $pipe "$count $refused $cut $longest $first\n";
}

sub load {
    my ($stop) = @_;
    my @pipes;
    for (1 .. 4) {
        my $pid = open(my $pipe, '-|') // die "fork: $!";
        if ($pid == 0) { worker($stop, \*STDOUT); exit 0 }
        push @pipes, $pipe;
    }
    my ($count, $refused, $cut, $longest, $first) = (0, 0, 0, 0, '');
    for my $pipe (@pipes) {
        my ($c, $r, $x, $l, $e) = split / /, <$pipe>, 5;
        $count += $c;
        $refused += $r;
        $cut += $x;
        $longest = $l if $l > $longest;
        chomp($first = $e) if $first eq '';
    }
    printf "%d requests, %d refused, %d cut, longest %.2f s %s\n", $count, $refused, $cut, $longest, $first;
}

sub upstream {
    my ($port, $seconds) = @_;
    $SIG{CHLD} = 'IGNORE';
    my $listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$port", Listen => 16, ReuseAddr => 1) or die "$port: $!";
    while (1) {
        my $socket = $listener->accept or next;
        next if fork;
        while (my $line = <$socket>) { last if $line eq "\r\n" }
        sleep $seconds;
        print $socket "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n"
            . "Connection: close\r\n\r\n{\"slow\":true}";
        exit 0;
    }
}

my $verb = shift // '';
if ($verb eq 'call') { print ask(@ARGV), "\n" }
elsif ($verb eq 'load') { load(@ARGV) }
elsif ($verb eq 'upstream') { upstream(@ARGV) }
else { die "usage: call | load | upstream\n" }
