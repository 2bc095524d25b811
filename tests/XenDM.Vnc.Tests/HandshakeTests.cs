using System;
using System.Linq;
using System.Text;

namespace XenDM.Vnc.Tests;

public class HandshakeTests
{
    private static VncOptions WithPassword => new() { NeedsPassword = true };

    [Fact]
    public void DesIsThatOfTheStandard()
    {
        Assert.Equal(0x85e813540f0ab405ul, DesPassword.Encrypt(0x133457799bbcdff1, 0x0123456789abcdef));
        Assert.Equal(0x8ca64de9c1b123a7ul, DesPassword.Encrypt(0, 0));
    }

    [Theory]
    [InlineData(3)]
    [InlineData(5)]
    [InlineData(7)]
    [InlineData(8)]
    [InlineData(889)]
    public void EveryVersionGetsIn(int minor)
    {
        using var host = new VncHost(new VncOptions { Title = "a guest" });
        using var client = new RfbClient(host.Port);
        client.Handshake(minor);
        host.Until(() => host.Server.Clients.Count == 1);
        Assert.Equal("a guest", client.Title);
        Assert.Equal(["connected", "initialized"], [host.NextEvent(), host.NextEvent()]);
    }

    [Theory]
    [InlineData("RFB 002.000\n")]
    [InlineData("HTTP/1.1 GET")]
    [InlineData("RFB 003.00x\n")]
    [InlineData("RFB 003-008\n")]
    public void OthersAreSentAway(string version)
    {
        using var host = new VncHost();
        using var client = new RfbClient(host.Port);
        client.Send(Encoding.ASCII.GetBytes(version));
        Assert.True(client.IsClosed());
        Assert.Equal(["connected", "disconnected"], [host.NextEvent(), host.NextEvent()]);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(7)]
    [InlineData(8)]
    public void ThePasswordIsAskedFor(int minor)
    {
        using var host = new VncHost(WithPassword);
        Assert.Equal("vnc", host.Server.Security);
        host.Run(() => host.Server.SetPassword("secret12 and more"));
        using var client = host.Connect(minor, "secret12");
        host.Until(() => host.Server.Clients.Count == 1);
    }

    [Theory]
    [InlineData(null, "")]
    [InlineData("", "")]
    [InlineData("right", "wrong")]
    public void WithoutTheRightPasswordNobodyGetsIn(string? set, string given)
    {
        using var host = new VncHost(WithPassword);
        host.Run(() => host.Server.SetPassword(set));
        using var client = new RfbClient(host.Port);
        client.Receive(12);
        client.Send("RFB 003.008\n"u8.ToArray());
        Assert.Equal(new byte[] { 1, 2 }, client.Receive(2));
        client.Send(2);
        client.Answer(given);
        Assert.Equal(1u, client.Receive32());
        Assert.Equal("Authentication failed", client.ReceiveText());
        Assert.True(client.IsClosed());
    }

    [Fact]
    public void APasswordEnds()
    {
        using var host = new VncHost(WithPassword with { Password = "x" });
        host.Run(() => host.Server.ExpirePassword(DateTimeOffset.UtcNow.AddHours(1)));
        using (host.Connect(8, "x"))
        {
        }

        host.Run(() => host.Server.ExpirePassword(DateTimeOffset.UtcNow));
        using var late = new RfbClient(host.Port);
        late.Receive(12);
        late.Send("RFB 003.003\n"u8.ToArray());
        Assert.Equal(2u, late.Receive32());
        late.Answer("x");
        Assert.Equal(1u, late.Receive32());
        host.Run(() => host.Server.ExpirePassword(DateTimeOffset.MaxValue));
        host.Connect(8, "x").Dispose();
    }

    [Fact]
    public void ChallengesDiffer()
    {
        using var host = new VncHost(WithPassword);
        var challenges = Enumerable.Range(0, 20).Select(_ =>
        {
            using var client = new RfbClient(host.Port);
            client.Receive(12);
            client.Send("RFB 003.003\n"u8.ToArray());
            Assert.Equal(2u, client.Receive32());
            return Convert.ToHexString(client.Receive(16));
        }).ToHashSet();
        Assert.Equal(20, challenges.Count);
    }

    [Fact]
    public void ATypeThatWasNotOfferedIsRefused()
    {
        using var host = new VncHost(WithPassword);
        using var client = new RfbClient(host.Port);
        client.Receive(12);
        client.Send("RFB 003.008\n"u8.ToArray());
        client.Receive(2);
        client.Send(1);
        Assert.Equal(1u, client.Receive32());
        Assert.Contains("not offered", client.ReceiveText(), StringComparison.Ordinal);
        Assert.True(client.IsClosed());
    }

    [Fact]
    public void AConnectionThatWasNotLetInEndsByItself()
    {
        using var host = new VncHost(new VncOptions { Patience = TimeSpan.FromMilliseconds(100) });
        using var client = new RfbClient(host.Port);
        Assert.True(client.IsClosed());
        host.Until(() => host.Log.Lines.Any(static l => l.Contains("took too long", StringComparison.Ordinal)));
        using var other = host.Connect();
        other.Request(isIncremental: false);
        Assert.NotEmpty(other.ReceiveUpdate());
    }

    [Fact]
    public void TheOldestOfTooManyConnectionsMakesRoom()
    {
        using var host = new VncHost(new VncOptions { MaxStrangers = 4 });
        var strangers = Enumerable.Range(0, 5).Select(_ =>
        {
            var client = new RfbClient(host.Port);
            client.Receive(12);
            return client;
        }).ToList();
        Assert.True(strangers[0].IsClosed());
        strangers[4].Send("RFB 003.008\n"u8.ToArray());
        Assert.Equal(new byte[] { 1, 1 }, strangers[4].Receive(2));
        strangers.ForEach(static s => s.Dispose());
    }

    [Fact]
    public void OneWhoWantsTheScreenAloneGetsIt()
    {
        using var host = new VncHost();
        using var first = host.Connect();
        using var second = host.Connect();
        host.Until(() => host.Server.Clients.Count == 2);
        using var alone = host.Connect(isShared: false);
        Assert.True(first.IsClosed());
        Assert.True(second.IsClosed());
        using var late = new RfbClient(host.Port);
        Assert.ThrowsAny<Exception>(() => late.Handshake());
        alone.Request(isIncremental: false);
        Assert.NotEmpty(alone.ReceiveUpdate());
        Assert.Single(host.Server.Clients);
    }

    [Fact]
    public void SharingCanBeForced()
    {
        using var host = new VncHost(new VncOptions { Sharing = VncSharing.ForceShared });
        using var first = host.Connect();
        using var alone = new RfbClient(host.Port);
        Assert.ThrowsAny<Exception>(() => alone.Handshake(isShared: false));
        first.Request(isIncremental: false);
        Assert.NotEmpty(first.ReceiveUpdate());
    }

    [Fact]
    public void SharingCanBeIgnored()
    {
        using var host = new VncHost(new VncOptions { Sharing = VncSharing.Ignore });
        using var first = host.Connect(isShared: false);
        using var second = host.Connect(isShared: false);
        using var third = host.Connect();
        host.Until(() => host.Server.Clients.Count == 3);
    }

    [Fact]
    public void TooManyClientsAreSentAway()
    {
        using var host = new VncHost(new VncOptions { MaxClients = 2 });
        using var first = host.Connect();
        using var second = host.Connect();
        using var third = new RfbClient(host.Port);
        Assert.ThrowsAny<Exception>(() => third.Handshake());
        first.Dispose();
        host.Until(() => host.Server.Clients.Count == 1);
        using var fourth = host.Connect();
    }

    [Fact]
    public void HashesAreThoseOfTheStandard()
    {
        Assert.Equal("A9993E364706816ABA3E25717850C26C9CD0D89D", Convert.ToHexString(Transport.WebSocketUpgrade.Sha1("abc"u8)));
        Assert.Equal("DA39A3EE5E6B4B0D3255BFEF95601890AFD80709", Convert.ToHexString(Transport.WebSocketUpgrade.Sha1(""u8)));
        Assert.Equal("84983E441C3BD26EBAAE4AA1F95129E5E54670F1", Convert.ToHexString(Transport.WebSocketUpgrade.Sha1("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"u8)));
    }
}
