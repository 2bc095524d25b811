using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;
using XenDM.PvBackends.Net;
using XenDM.PvBackends.XenBus;
using XenDM.Testing;
using PvBus = XenDM.PvBackends.XenBus.XenBus;

namespace XenDM.PvBackends.Tests.Net;

/// <summary>A machine with PV NICs on a fake Xen, each with an emulated twin. Nothing runs but when <see cref="Pump"/> is called.</summary>
public sealed class NetMachine : IMachineLog, IPvNets, IDisposable
{
    private readonly Dictionary<string, FakeNet> _nets = [];

    public NetMachine(int pages = 4096, bool log = true)
    {
        Xen = new FakeXen(Loop, pages);
        GuestAllowed = log;
        Bus = new PvBus(Xen.Ports, FakeXen.Guest, 0, [new NetKind("vif", Xen.Ports, FakeXen.Guest, this, Loop)], Loop, this);
    }

    public FakeLoop Loop { get; } = new();

    public FakeXen Xen { get; }

    public PvBus Bus { get; }

    public List<string> Log { get; } = [];

    public bool GuestAllowed { get; }

    /// <summary>Adds a NIC as the toolstack does, with its net, its twin and a front end.</summary>
    public (FakeNet Net, NetFront Front, Twin Twin) AddNic(NetFrontOptions options, int id = 0, bool log = true)
    {
        var net = new FakeNet { Log = log };
        var twin = new Twin();
        net.Attach(twin);
        _nets[$"{id}"] = net;
        var (front, back) = Xen.AddDevice("vif", "vif", id, ("mac", "00:16:3e:00:00:01"), ("handle", $"{id}"));
        return (net, new NetFront(Xen, front, back, options, Pump), twin);
    }

    /// <summary>The same, connected.</summary>
    public (FakeNet Net, NetFront Front, Twin Twin) Connect(NetFrontOptions options, int id = 0, bool log = true)
    {
        var nic = AddNic(options, id, log);
        Assert.True(nic.Front.Connect(), string.Join('\n', Log));
        return nic;
    }

    public NetCounters Counters(int id = 0)
    {
        foreach (var device in Bus.Devices)
            if (device.Id == $"{id}") return ((NetDevice)device.Device!).Counters;
        throw new InvalidOperationException("there is no such NIC");
    }

    public void Pump() => Loop.RunPosted(100_000);

    public string? ErrorOf(int id) => Xen.Store.Read($"/local/domain/0/error/backend/vif/{FakeXen.Guest}/{id}/error");

    /// <summary>Nothing of the guest's is held.</summary>
    public void AssertLetGo()
    {
        Assert.Equal(0, Xen.Grants.Mapped);
        Assert.Equal(0, Xen.Events.Bound);
    }

    public void Dispose() => Bus.Dispose();

    void IMachineLog.Info(string source, string text) => Log.Add($"info {source}: {text}");

    void IMachineLog.Warn(string source, string text) => Log.Add($"warn {source}: {text}");

    void IMachineLog.Guest(string source, string text) => Log.Add($"guest {source}: {text}");

    PvNet IPvNets.Open(string id, StoreFolder back) => _nets.TryGetValue(id, out var net) ? new PvNet(net, new LoopPlane(Loop), isOwned: false) : throw new PvException("there is no such net");
}

/// <summary>The emulated NIC that has the net while no PV driver does.</summary>
public sealed class Twin : INetFrontend
{
    public int Received { get; private set; }

    public int Readied { get; private set; }

    public int LinkChanges { get; private set; }

    public bool Receive(in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        Received++;
        return true;
    }

    public void SendReady() => Readied++;

    public void LinkChanged(bool up) => LinkChanges++;
}

/// <summary>Frames as guests and wires have them.</summary>
internal static class Frames
{
    public const int Ipv4Tcp = 14 + 20 + 20, Ipv6Tcp = 14 + 40 + 20;

    /// <summary>Bytes that differ from place to place; to a unicast address, of no protocol that anybody knows.</summary>
    public static byte[] Plain(int length, int seed = 1)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        bytes[0] = 0x02;
        BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(12), 0x88b5);
        return bytes;
    }

    /// <summary>TCP whose checksum field holds something that is of no use.</summary>
    public static byte[] Tcp(bool isIpv6, int payload, ushort port = 80)
    {
        var headers = isIpv6 ? Ipv6Tcp : Ipv4Tcp;
        var bytes = Plain(headers + payload);
        var ip = bytes.AsSpan(14);
        if (isIpv6)
        {
            BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(12), 0x86dd);
            ip[0] = 0x60;
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)(20 + payload));
            ip[6] = 6;
        }
        else
        {
            BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(12), 0x0800);
            ip[0] = 0x45;
            BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)(40 + payload));
            ip[6] = 0x40;
            ip[7] = 0;
            ip[9] = 6;
        }

        var tcp = bytes.AsSpan(headers - 20);
        BinaryPrimitives.WriteUInt16BigEndian(tcp, port);
        tcp[12] = 0x50;
        BinaryPrimitives.WriteUInt16BigEndian(tcp[16..], 0xbeef);
        return bytes;
    }

    /// <summary>The folded sum of addresses, protocol and length of <see cref="Tcp"/> (RFC 9293 section 3.1).</summary>
    public static ushort PseudoSum(ReadOnlySpan<byte> frame, bool isIpv6)
    {
        var addresses = isIpv6 ? frame[22..54] : frame[26..34];
        var sum = 6u + (uint)(frame.Length - (isIpv6 ? 54 : 34));
        for (var n = 0; n < addresses.Length; n += 2) sum += BinaryPrimitives.ReadUInt16BigEndian(addresses[n..]);
        while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
        return (ushort)sum;
    }
}
