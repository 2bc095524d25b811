using System;
using System.IO;
using XenDM.CommandLine;
using XenDM.Machines;
using XenDM.Vnc;

namespace XenDM.Tests.Machines;

public class VncSpecTests
{
    [Theory]
    [InlineData("127.0.0.1:0,to=99", "127.0.0.1", 0, 99, false)]
    [InlineData("127.0.0.1:7,password=on,to=99", "127.0.0.1", 7, 99, true)]
    [InlineData("0.0.0.0:3,password", "0.0.0.0", 3, 3, true)]
    [InlineData(":1", "", 1, 1, false)]
    [InlineData("[::1]:2,password=off", "::1", 2, 2, false)]
    [InlineData("localhost:10,share=ignore,lossy=on,key-delay-ms=0", "localhost", 10, 10, false)]
    public void AddressesAreRead(string text, string host, int display, int last, bool password)
    {
        var vnc = Parse("-vnc", text)!;
        Assert.Equal((host, display, last, password), (vnc.Host, vnc.Display, vnc.LastDisplay, vnc.NeedsPassword));
        Assert.Null(vnc.UnixPath);
    }

    [Fact]
    public void LibxlsDisplayNoneLeavesTheServerOn() => Assert.NotNull(Parse("-vnc", "127.0.0.1:0,to=99", "-display", "none"));

    [Fact]
    public void NoneIsNone()
    {
        Assert.Null(Parse());
        Assert.Null(Parse("-vnc", "none"));
        Assert.Null(Parse("-vnc", "none,password=on"));
    }

    [Fact]
    public void EverythingElseIsRead()
    {
        var folder = Path.GetTempFileName();
        File.WriteAllText(folder, "dG9wIHNlY3JldA==");
        var vnc = Parse("-object", "tls-creds-x509,id=tls0,dir=/etc/pki,endpoint=server,verify-peer=off", "-object", $"secret,id=s,file={folder},format=base64", "-k", "de", "-name", "box",
            "-vnc", "unix:/tmp/a=b,websocket=[::1]:5800,tls-creds=tls0,password-secret=s,share=force-shared,connections=3,lossy,ipv4")!;
        File.Delete(folder);
        Assert.Equal("/tmp/a=b", vnc.UnixPath);
        Assert.Equal(new VncWebSocket("::1", 5800), vnc.WebSocket);
        Assert.Equal(new VncCredentials("/etc/pki", false), vnc.Credentials);
        Assert.Equal((true, "top secret", VncSharing.ForceShared, 3, true), (vnc.NeedsPassword, vnc.Password, vnc.Sharing, vnc.MaxClients, vnc.IsLossy));
        Assert.Equal((true, false, "de", "XenDM (box)"), (vnc.AllowsIPv4, vnc.AllowsIPv6, vnc.Keymap, vnc.Title));
        Assert.Equal(new VncWebSocket(null, null), Parse("-vnc", ":1,websocket")!.WebSocket);
        Assert.Equal(new VncWebSocket(null, 5), Parse("-vnc", ":1,websocket=5")!.WebSocket);
        Assert.Equal(9, Parse("-display", "vnc=:9")!.Display);
        Assert.True(Parse("-object", "tls-creds-x509,id=t,dir=/x", "-vnc", ":1,tls-creds=t")!.Credentials!.VerifyPeer);
    }

    [Theory]
    [InlineData("-vnc", "here", "HOST:DISPLAY")]
    [InlineData("-vnc", "here:x", "display")]
    [InlineData("-vnc", ":60000", "display")]
    [InlineData("-vnc", ":1,sasl", "sasl")]
    [InlineData("-vnc", ":1,reverse=on", "reverse")]
    [InlineData("-vnc", ":1,nonsense=3", "nonsense")]
    [InlineData("-vnc", ":1,share=mine", "share=mine")]
    [InlineData("-vnc", ":1,password=maybe", "password=maybe")]
    [InlineData("-vnc", ":1,tls-creds=t", "tls-creds-x509")]
    [InlineData("-vnc", ":1,password-secret=t", "secret")]
    [InlineData("-vnc", ":1,websocket=0", "websocket")]
    [InlineData("-vnc", "unix:", "missing")]
    [InlineData("-k", "klingon", "klingon")]
    public void MistakesAreNamed(string option, string value, string named)
    {
        var error = Assert.Throws<UsageException>(() => Parse("-vnc", ":1", option, value));
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
        Assert.Contains(option, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void TheEndOfAPasswordIsReckoned()
    {
        Assert.Equal(DateTimeOffset.MaxValue, VncSpec.Expiry(long.MaxValue, false));
        Assert.Equal(DateTimeOffset.UnixEpoch.AddSeconds(5), VncSpec.Expiry(5, false));
        Assert.InRange(VncSpec.Expiry(60, true), DateTimeOffset.UtcNow, DateTimeOffset.UtcNow.AddSeconds(61));
        Assert.InRange(VncSpec.Expiry(long.MaxValue - 1, true), DateTimeOffset.UtcNow.AddYears(7000), DateTimeOffset.MaxValue);
    }

    private static VncOptions? Parse(params string[] arguments)
    {
        var options = QemuArguments.Parse(["-xen-domid", "1", .. arguments]);
        Catalogue.Check(options, displays: false);
        return VncSpec.FromOptions(options);
    }
}
