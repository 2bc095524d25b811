using System;
using System.Linq;

namespace XenDM.Web.Tests;

public sealed class WebOptionsTests
{
    [Theory]
    [InlineData("--guest a=/x/q", "a", "unix:/x/q", null)]
    [InlineData("--guest=a=unix:/x/q,vnc=unix:/x/v", "a", "unix:/x/q", "unix:/x/v")]
    [InlineData("--guest a=host:4444,vnc=127.0.0.1:5901", "a", "host:4444", "127.0.0.1:5901")]
    [InlineData("--guest a=tcp:[::1]:4444,vnc=:5900", "a", "[::1]:4444", "localhost:5900")]
    [InlineData("--guest a=/x,y/q=1,vnc=/v", "a", "unix:/x,y/q=1", "unix:/v")]
    public void Guests_are_named_with_their_sockets(string arguments, string name, string qmp, string? vnc)
    {
        var guest = WebOptions.Parse(arguments.Split(' '))!.Guests.Single();
        Assert.Equal((name, qmp, vnc), (guest.Name, $"{guest.Qmp}", guest.Vnc?.ToString()));
    }

    [Theory]
    [InlineData("6081", "127.0.0.1:6081")]
    [InlineData("0.0.0.0:80", "0.0.0.0:80")]
    [InlineData("*:80", "0.0.0.0:80")]
    [InlineData("localhost:1", "127.0.0.1:1")]
    [InlineData("[::1]:81", "[::1]:81")]
    public void It_listens_where_it_is_told(string text, string address) => Assert.Equal(address, WebOptions.Parse(["--guest", "a=/q", "--listen", text])!.Listen.ToString());

    [Fact]
    public void It_listens_to_this_host_only_unless_told() => Assert.Equal("127.0.0.1:6080", WebOptions.Parse(["--guest", "a=/q"])!.Listen.ToString());

    [Fact]
    public void Help_is_help()
    {
        Assert.Null(WebOptions.Parse(["--help"]));
        Assert.Null(WebOptions.Parse(["--guest", "a=/q", "-h"]));
        foreach (var option in (string[])["--guest", "--dir", "--media", "--listen", "--token-file", "--until-eof", "device_model_args"]) Assert.Contains(option, WebOptions.Help, StringComparison.Ordinal);
        Assert.All(WebOptions.Help.Split('\n'), static line => Assert.InRange(line.Length, 0, 120));
    }

    [Theory]
    [InlineData("", "there is no guest")]
    [InlineData("--frob", "'--frob' is not known")]
    [InlineData("extra", "'extra' is not known")]
    [InlineData("--guest", "a value must follow")]
    [InlineData("--guest a", "must be NAME=QMP-SOCKET")]
    [InlineData("--guest =x", "must be NAME=QMP-SOCKET")]
    [InlineData("--guest a/b=/x", "a name has no '/'")]
    [InlineData("--guest ..=/x", "'..' is no name")]
    [InlineData("--guest a=/x --guest a=/y", "'a' is there twice")]
    [InlineData("--guest a=nothing", "'nothing' is no address")]
    [InlineData("--guest a=host:0", "'host:0' is no address")]
    [InlineData("--guest a=/x,vnc=", "'' is no address")]
    [InlineData("--guest a=/var/run/xen/qmp-libxl-3", "is libxl's own socket")]
    [InlineData("--dir /nowhere/at/all", "there is no folder")]
    [InlineData("--guest a=/x --listen host", "'host' is no address")]
    [InlineData("--guest a=/x --listen 1:2:3", "is no address")]
    [InlineData("--guest a=/x --listen 127.0.0.1:65536", "is no address")]
    public void Mistakes_are_named(string arguments, string error)
    {
        var mistake = Assert.Throws<UsageException>(() => WebOptions.Parse(arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries)));
        Assert.Contains(error, mistake.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_path_is_no_longer_than_the_system_takes()
    {
        Assert.True(PeerAddress.TryParse($"/{new string('x', 106)}", out _));
        Assert.False(PeerAddress.TryParse($"/{new string('x', 107)}", out _));
    }
}
