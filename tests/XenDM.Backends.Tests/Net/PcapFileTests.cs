using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Net;
using XenDM.Backends.Net;
using XenDM.Backends.Tests.Char;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;

namespace XenDM.Backends.Tests.Net;

public sealed class PcapFileTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("xendm-net-").FullName;
    private readonly TestLoop _loop = new();

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>Reads a file as its format says, to the last byte.</summary>
    private static List<(DateTime Time, int Length, byte[] Bytes)> Read(string path, int maxBytes)
    {
        var file = File.ReadAllBytes(path);
        Assert.Equal([0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0], file[..16]);
        Assert.Equal(maxBytes, BitConverter.ToInt32(file, 16));
        Assert.Equal(1, BitConverter.ToInt32(file, 20));
        var records = new List<(DateTime, int, byte[])>();
        for (var at = 24; at < file.Length;)
        {
            var (seconds, micro, kept, length) = (BitConverter.ToUInt32(file, at), BitConverter.ToUInt32(file, at + 4), BitConverter.ToInt32(file, at + 8), BitConverter.ToInt32(file, at + 12));
            Assert.InRange(micro, 0u, 999_999u);
            Assert.InRange(kept, 14, Math.Min(length, maxBytes));
            records.Add((DateTime.UnixEpoch.AddSeconds(seconds).AddMicroseconds(micro), length, file[(at + 16)..(at + 16 + kept)]));
            at += 16 + kept;
        }

        return records;
    }

    [Fact]
    public void BothDirectionsAreThereAsOnAWire()
    {
        var path = Path.Combine(_folder, "a.pcap");
        var (from, to) = (IPAddress.Parse("10.0.2.15"), IPAddress.Parse("10.0.2.2"));
        var begin = DateTime.UtcNow.AddMilliseconds(-1);
        var guest = new TestGuest();
        using (var net = new UserNet(new UserNetdev("n"), _loop, SilentLog.Instance))
        {
            NetBackends.Dump(net, new DumpSpec("d", "n", path), SilentLog.Instance);
            net.Attach(guest);
            byte[] ask = [0, 1, 8, 0, 6, 4, 0, 1, .. Packet.GuestMac, .. from.GetAddressBytes(), 0, 0, 0, 0, 0, 0, .. to.GetAddressBytes()];
            net.Send(default, Packet.Ethernet([255, 255, 255, 255, 255, 255], 0x0806, ask));
            _loop.Until(() => guest.Received.Count > 0);
            guest.Received.Clear();

            var blank = Packet.Ethernet(new byte[6], 0x0800, Packet.Ip(from, to, Packet.Tcp, Packet.TcpSegment(5, 6, 7, 8, 16, new byte[3000])));
            BinaryPrimitives.WriteUInt16BigEndian(blank.AsSpan(50), 0);
            net.Send(new NetFrame { NeedsChecksum = true, ChecksumStart = 34, ChecksumOffset = 16, Segmentation = NetSegmentation.Tcp4, SegmentBytes = 1460 }, blank);
        }

        var records = Read(path, DumpSpec.DefaultMaxBytes);
        Assert.Equal([42, -1, 1514, 1514, 134], records.ConvertAll(static r => r.Bytes[20..22] is [0, 2] ? -1 : r.Length));
        foreach (var record in records) Assert.InRange(record.Time, begin, DateTime.UtcNow);
        for (var i = 2; i < 5; i++) Assert.NotNull(Packet.Transport(records[i].Bytes, Packet.Tcp));
    }

    [Fact]
    public void LongFramesAreCutInTheFile()
    {
        var path = Path.Combine(_folder, "b.pcap");
        using (var pcap = new PcapFile(path, 64, static _ => Assert.Fail("the disk is full")))
        {
            pcap.Write(default, new byte[1000]);
            pcap.Write(default, new byte[60]);
            pcap.Write(default, new byte[13]);
        }

        Assert.Equal([(1000, 64), (60, 60)], Read(path, 64).ConvertAll(static r => (r.Length, r.Bytes.Length)));
    }

    [Fact]
    public void AFullDiskIsSaidOnceAndTheGuestGoesOn()
    {
        var said = new List<string>();
        using var pcap = new PcapFile("/dev/full", 64, said.Add);
        for (var i = 0; i < 5; i++) pcap.Write(default, new byte[60]);
        Assert.Contains("/dev/full", Assert.Single(said), StringComparison.Ordinal);
        Assert.Throws<NetOpenException>(() => new PcapFile(Path.Combine(_folder, "no", "such"), 64, said.Add));
    }
}
