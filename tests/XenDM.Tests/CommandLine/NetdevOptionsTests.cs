using System;
using System.Collections.Generic;
using System.Net;
using XenDM.Backends.Net;
using XenDM.CommandLine;
using XenDM.Core.Backends;
using XenDM.Machines;

namespace XenDM.Tests.CommandLine;

public sealed class NetdevOptionsTests
{
    private static QemuOptions Parse(string line) => QemuArguments.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries));

    private static NetdevSpec One(string line) => Assert.Single(NetdevOptions.FromOptions(Parse(line)));

    [Fact]
    public void LibxlsNicStandsBeforeItsTap()
    {
        var options = Parse("-device rtl8139,id=nic0,netdev=net0,mac=00:16:3e:12:34:56 -netdev type=tap,id=net0,ifname=vif5.0-emu,br=xenbr0,script=no,downscript=no");
        var tap = Assert.IsType<TapNetdev>(Assert.Single(NetdevOptions.FromOptions(options)));
        Assert.Equal(("net0", "vif5.0-emu", 1, true), (tap.Id, tap.Interface, tap.Queues, tap.HasVnetHeader));
        var nic = Assert.Single(NicSpec.FromOptions(options));
        Assert.Equal(("rtl8139", "nic0", "net0", new MacAddress(0x00163e123456)), (nic.Model, nic.Id, nic.NetdevId, nic.Mac));
    }

    [Fact]
    public void UserTakesWhatQemuTakes()
    {
        var user = Assert.IsType<UserNetdev>(One("-netdev user,id=u,net=192.168.7.9/24,host=192.168.7.1,dhcpstart=192.168.7.100,dns=192.168.7.3,restrict=on,hostname=box,dnssearch=a.example,"
            + "dnssearch=b.example,domainname=example,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp::5353-192.168.7.50:53,hostfwd=::80-:8080,bootfile=/pxe,ipv6=off"));
        Assert.Equal(IPNetwork.Parse("192.168.7.0/24"), user.Network);
        Assert.Equal(["192.168.7.1", "192.168.7.100", "192.168.7.3"], [$"{user.Host}", $"{user.DhcpStart}", $"{user.Dns}"]);
        Assert.Equal((true, false, true, "box", "example", "/pxe"), (user.HasIpv4, user.HasIpv6, user.IsRestricted, user.HostName, user.DomainName, user.BootFile));
        Assert.Equal(["a.example", "b.example"], user.DnsSearch);
        Assert.Equal(
            [new(false, IPAddress.Loopback, 2222, IPAddress.Any, 22), new(true, IPAddress.Any, 5353, IPAddress.Parse("192.168.7.50"), 53), new PortForward(false, IPAddress.Any, 80, IPAddress.Any, 8080)],
            user.Forwards);
    }

    [Theory]
    [InlineData("net=10.1.0.0/255.255.0.0", "10.1.0.0/16")]
    [InlineData("net=10.1.2.3", "10.0.0.0/8")]
    [InlineData("net=172.20.0.0", "172.20.0.0/16")]
    [InlineData("net=192.168.4.1", "192.168.4.0/24")]
    [InlineData("restrict=off", "10.0.2.0/24")]
    public void NetworksAreWrittenInSeveralWays(string words, string network) => Assert.Equal(network, Assert.IsType<UserNetdev>(One($"-netdev user,id=u,{words}")).Network.ToString());

    [Theory]
    [InlineData("ipv4=on", true, false)]
    [InlineData("ipv6=on", false, true)]
    [InlineData("ipv4=off", false, true)]
    [InlineData("ipv6=off", true, false)]
    [InlineData("ipv4=on,ipv6=on", true, true)]
    public void NamingOneProtocolLeavesTheOtherOut(string words, bool v4, bool v6)
    {
        var user = Assert.IsType<UserNetdev>(One($"-netdev user,id=u,{words}"));
        Assert.Equal((v4, v6), (user.HasIpv4, user.HasIpv6));
    }

    [Theory]
    [InlineData("tap,id=t,fd=7", 1)]
    [InlineData("tap,id=t,fds=7:8:9", 3)]
    [InlineData("tap,id=t,ifname=x,queues=4,vnet_hdr=off", 4)]
    public void TapsHaveQueues(string words, int queues) => Assert.Equal(queues, Assert.IsType<TapNetdev>(One($"-netdev {words}")).Queues);

    [Theory]
    [InlineData("socket,id=s,listen=:1234", NetSocketKind.Listen)]
    [InlineData("socket,id=s,connect=localhost:1234", NetSocketKind.Connect)]
    [InlineData("socket,id=s,mcast=230.0.0.1:1234,localaddr=127.0.0.1", NetSocketKind.Multicast)]
    [InlineData("socket,id=s,udp=127.0.0.1:1,localaddr=127.0.0.1:2", NetSocketKind.Datagram)]
    [InlineData("stream,id=s,server=on,addr.type=unix,addr.path=/tmp/x", NetSocketKind.Listen)]
    [InlineData("stream,id=s,addr.type=inet,addr.host=127.0.0.1,addr.port=5,reconnect=3", NetSocketKind.Connect)]
    [InlineData("dgram,id=s,local.type=unix,local.path=/a,remote.type=unix,remote.path=/b", NetSocketKind.Datagram)]
    [InlineData("dgram,id=s,remote.type=inet,remote.host=230.0.0.1,remote.port=5", NetSocketKind.Multicast)]
    public void SocketsAreOfFourKinds(string words, NetSocketKind kind) => Assert.Equal(kind, Assert.IsType<SocketNetdev>(One($"-netdev {words}")).Kind);

    [Theory]
    [InlineData("-netdev user", "id=")]
    [InlineData("-netdev vde,id=a", "vde")]
    [InlineData("-netdev user,id=a -netdev user,id=a", "twice")]
    [InlineData("-netdev user,id=a,nonsense=1", "nonsense")]
    [InlineData("-netdev user,id=a,net=10.0.2.0/30", "room")]
    [InlineData("-netdev user,id=a,net=10.0.2.0/99", "length")]
    [InlineData("-netdev user,id=a,net=10.0.2.0/255.0.255.0", "length")]
    [InlineData("-netdev user,id=a,host=1.2.3.4", "outside")]
    [InlineData("-netdev user,id=a,dns=x", "no address")]
    [InlineData("-netdev user,id=a,ipv4=off,ipv6=off", "nothing")]
    [InlineData("-netdev user,id=a,hostfwd=tcp::22", "guest's side")]
    [InlineData("-netdev user,id=a,hostfwd=sctp::22-:22", "sctp")]
    [InlineData("-netdev user,id=a,hostfwd=tcp::99999-:22", "99999")]
    [InlineData("-netdev user,id=a,hostfwd=tcp::22-:0", "'0'")]
    [InlineData("-netdev user,id=a,hostfwd=tcp:x:22-:22", "'x'")]
    [InlineData("-netdev user,id=a,tftp=/no/such/folder", "folder")]
    [InlineData("-netdev tap,id=a,vhost=on", "vhost")]
    [InlineData("-netdev tap,id=a,script=/etc/qemu-ifup", "script")]
    [InlineData("-netdev tap,id=a,ifname=averyveryverylongname", "15")]
    [InlineData("-netdev tap,id=a,queues=9", "queues")]
    [InlineData("-netdev tap,id=a,fd=3,ifname=b", "ifname")]
    [InlineData("-netdev socket,id=a", "exactly one")]
    [InlineData("-netdev socket,id=a,listen=:1,connect=:2", "exactly one")]
    [InlineData("-netdev socket,id=a,mcast=10.0.0.1:5", "multicast")]
    [InlineData("-netdev socket,id=a,udp=1.2.3.4:5", "localaddr")]
    [InlineData("-netdev socket,id=a,listen=1234", "HOST:PORT")]
    [InlineData("-netdev stream,id=a,addr.type=vsock", "vsock")]
    [InlineData("-netdev dgram,id=a,local.type=inet", "local.type")]
    [InlineData("-netdev user,id=a -device e1000,netdev=b", "id=b")]
    [InlineData("-netdev user,id=a -device e1000,netdev=a -device rtl8139,netdev=a", "another")]
    [InlineData("-device e1000,mac=01:00:00:00:00:00", "single")]
    [InlineData("-device e1000,mac=1:2:3:4:5:6", "six pairs")]
    [InlineData("-device e1000,addr=40", "addr")]
    [InlineData("-object rng-random,id=r", "rng-random")]
    [InlineData("-object filter-dump,id=d,netdev=x,file=f", "netdev=x")]
    [InlineData("-net nic -net nic", "several NICs")]
    public void MistakesNameWhatIsWrong(string line, string named)
    {
        var e = Assert.Throws<UsageException>(() =>
        {
            var options = Parse(line);
            NetdevOptions.Dumps(options, NetdevOptions.FromOptions(options));
            NicSpec.FromOptions(options);
        });
        Assert.Contains(named, e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("-nic user,model=rtl8139,mac=00:16:3e:00:00:07,hostfwd=tcp::1-:2", "rtl8139", "nicdev0")]
    [InlineData("-net nic,model=rtl8139,macaddr=00:16:3e:00:00:07 -net user,hostfwd=tcp::1-:2", "rtl8139", "net-wire")]
    [InlineData("-net user,hostfwd=tcp::1-:2 -net nic,macaddr=00:16:3e:00:00:07", "e1000", "net-wire")]
    public void ShortFormsAreTheSame(string line, string model, string id)
    {
        var options = Parse(line);
        Assert.Single(Assert.IsType<UserNetdev>(Assert.Single(NetdevOptions.FromOptions(options))).Forwards);
        var nic = Assert.Single(NicSpec.FromOptions(options));
        Assert.Equal((model, id, "00:16:3e:00:00:07"), (nic.Model, nic.NetdevId, nic.Mac.ToString()));
    }

    [Theory]
    [InlineData("-net none")]
    [InlineData("-nic none")]
    public void NoneIsNothing(string line)
    {
        var options = Parse(line);
        Assert.Empty(options.Netdevs);
        Assert.Empty(options.Devices);
    }

    [Fact]
    public void NicsGetAddressesOfTheirOwn()
    {
        var nics = NicSpec.FromOptions(Parse("-device e1000 -device e1000-82540em,romfile=,bootindex=2,addr=0x1f.0 -device rtl8139,rombar=0"));
        Assert.Equal(["52:54:00:12:34:56", "52:54:00:12:34:57", "52:54:00:12:34:58"], nics.ConvertAll(static n => n.Mac.ToString()));
        Assert.Equal((null, "", "", 2, 31), (nics[0].RomFile, nics[1].RomFile, nics[2].RomFile, nics[1].BootIndex, nics[1].Slot));
    }

    [Fact]
    public void ADumpNamesItsNetdevAndFile()
    {
        var options = Parse("-object filter-dump,id=f0,netdev=n,file=/tmp/a.pcap,maxlen=96 -netdev user,id=n");
        Assert.Equal([new DumpSpec("f0", "n", "/tmp/a.pcap", 96)], NetdevOptions.Dumps(options, NetdevOptions.FromOptions(options)));
    }

    [Fact]
    public void RandomWordsAreRefusedOrUnderstood()
    {
        var random = new Random(7);
        string[] words = ["user", "tap", "socket", "stream", "dgram", "id=", "id=a", "net=", "net=/", "net=1/2", "hostfwd=-", "hostfwd=::-:", "hostfwd=tcp:::-::", "fds=:", "fd=-1", "listen=:", "mcast=:", "udp=", "localaddr=:",
            "addr.type=unix", "addr.type=inet", "addr.path=", "local.type=fd", "local.str=x", "ipv6-net=::/129", "ipv6-prefix=fe80::", "ipv6-prefixlen=", "host=::1", "=", ",,", "ifname=", "sndbuf=99999999999"];
        for (var round = 0; round < 20_000; round++)
        {
            var parts = new List<string>();
            for (var n = random.Next(1, 6); n > 0; n--) parts.Add(words[random.Next(words.Length)]);
            try
            {
                NetdevOptions.Netdev(OptionList.Parse("-netdev", string.Join(',', parts), "type"));
            }
            catch (UsageException)
            {
            }
        }
    }
}
