using System;
using System.Linq;
using System.Text;
using XenDM.Cpu;
using XenDM.Hypervisor.Embedded.Xen;

namespace XenDM.Hypervisor.Tests.Embedded;

/// <summary>Xen's side of a guest as its firmware meets it: through CPUID, an MSR, hypercalls and the store's ring.</summary>
public sealed unsafe class XenGuestTests : IDisposable
{
    private const int Memory = 12, Version = 17, Event = 32, Hvm = 34;
    private const int EPERM = 1, EFAULT = 14, EINVAL = 22, ENOSYS = 38;
    private const uint StorePage = 0xfeff_c000;
    private readonly XenBoard _board = new XenBoard(2).Start();

    public void Dispose() => _board.Dispose();

    [Fact]
    public void TheBuilderLeavesStartInformation()
    {
        using var fresh = new XenBoard(3);
        var start = fresh.Cpu.State->R[3];
        Assert.Equal((0x336e_c578u, 1u, 0u, 1u), (fresh.Read(start), fresh.Read(start + 4), fresh.Read(start + 8), fresh.Read(start + 12)));
        var module = fresh.Read(start + 16);
        Assert.Equal([1, 2, 3], fresh.Bytes(fresh.Read(module), (int)fresh.Read(module + 8)));
        Assert.Equal("firmware\0", Encoding.ASCII.GetString(fresh.Bytes(fresh.Read(module + 16), 9)));
        var map = fresh.Read(start + 40);
        Assert.Equal((1u, 0x10_0000u, XenBoard.Memory - 0x10_0000, 1u), (fresh.Read(start + 48), fresh.Read(map), fresh.Read(map + 8), fresh.Read(map + 16)));
        var info = fresh.Bytes(0x9_f800, 48);
        Assert.Equal("HVM INFO", Encoding.ASCII.GetString(info, 0, 8));
        Assert.Equal(0, info.Sum(b => b) & 0xff);
        Assert.Equal((3, XenBoard.Memory >> 12, 7), (info[16], BitConverter.ToUInt32(info, 20), info[32]));
    }

    [Fact]
    public void TheHypervisorShowsItself()
    {
        var bus = (ICpuBus)_board.Machine;
        var (a, b, c, d) = bus.Cpuid(_board.Cpu, 0x4000_0000, 0);
        Assert.True(a >= 0x4000_0004);
        Assert.Equal("XenVMMXenVMM", Encoding.ASCII.GetString([.. BitConverter.GetBytes(b), .. BitConverter.GetBytes(c), .. BitConverter.GetBytes(d)]));
        Assert.Equal((0x0004_0011u, 0u, 0u, 0u), bus.Cpuid(_board.Cpu, 0x4000_0001, 0));
        Assert.Equal((1u, 0x4000_0000u, 0u, 0u), bus.Cpuid(_board.Cpu, 0x4000_0002, 0));
        Assert.Equal(1u, bus.Cpuid(_board.Machine.Cpus[1], 0x4000_0004, 0).B);
        Assert.Equal(1u, bus.Cpuid(_board.Cpu, 1, 0).C >> 31);
    }

    [Fact]
    public void CallsGoThroughThePage()
    {
        Assert.Equal(0x0004_0011, _board.Call(Version));
        Assert.Equal(0, _board.Call(Version, 1, XenBoard.Data));
        Assert.Equal(".0", Encoding.ASCII.GetString(_board.Bytes(XenBoard.Data, 2)));
        Assert.Equal(0, _board.Call(Version, 8, XenBoard.Data));
        Assert.Equal(Convert.FromHexString("00112233445566778899aabbccddeeff"), _board.Bytes(XenBoard.Data, 16));
        Assert.Equal(-ENOSYS, _board.Call(0));
        Assert.Equal(-EFAULT, _board.Call(Version, 1, 0xd000_0000));
        Assert.Equal([0x0f, 0x0b, 0xcc], _board.Bytes(XenBoard.HypercallPage + (23 * 32), 3));
    }

    [Fact]
    public void UsersMayNotCall()
    {
        _board.Cpu.State->R[0] = Version;
        _board.Cpu.State->Cpl = 3;
        ((ICpuBus)_board.Machine).Hypercall(_board.Cpu);
        Assert.Equal(-EPERM, (int)_board.Cpu.State->R[0]);
    }

    [Fact]
    public void ParametersHaveTheirRights()
    {
        Assert.Equal((0, 0xf_effcu), Get(1));
        Assert.Equal((0, 1u), Get(2));
        Assert.Equal((0, 0xf_efffu), Get(17));
        Assert.Equal(-EPERM, Get(5).Result);
        Assert.Equal(-EINVAL, Get(39).Result);
        Assert.Equal(-EINVAL, Get(4).Result);
        Assert.Equal(-EPERM, Set(1, 7));
        Assert.Equal(0, Set(19, 1));
        Assert.Equal((0, 1u), Get(19));
        _board.Write(XenBoard.Data, 5, 1, 0, 0);
        Assert.Equal(-EPERM, _board.Call(Hvm, 1, XenBoard.Data));
    }

    [Fact]
    public void TheMemoryMapIsToldUpToTheRoomForIt()
    {
        _board.Write(XenBoard.Data, 8, XenBoard.Data + 64);
        Assert.Equal(0, _board.Call(Memory, 9, XenBoard.Data));
        Assert.Equal((1u, 0x10_0000u, XenBoard.Memory - 0x10_0000), (_board.Read(XenBoard.Data), _board.Read(XenBoard.Data + 64), _board.Read(XenBoard.Data + 72)));
        _board.Write(XenBoard.Data, 0, XenBoard.Data + 64);
        Assert.Equal(0, _board.Call(Memory, 9, XenBoard.Data));
        Assert.Equal(0u, _board.Read(XenBoard.Data));
    }

    [Fact]
    public void FramesAreFilledAndTakenAway()
    {
        _board.Write(XenBoard.Data, XenBoard.Data + 64, 3, 0, 0, XenBoard.Self);
        _board.Write(XenBoard.Data + 64, 0xf_c000, 0xf_c001, 0);
        // The third frame is RAM already.
        Assert.Equal(2, _board.Call(Memory, 6, XenBoard.Data));
        _board.Write(0xfc00_1ffc, 0x1234);
        Assert.Equal(0x1234u, _board.Read(0xfc00_1ffc));
        _board.Write(XenBoard.Data, XenBoard.Data + 68, 1, 0, 0, XenBoard.Self);
        Assert.Equal(1, _board.Call(Memory, 1, XenBoard.Data));
        Assert.Equal(uint.MaxValue, _board.Read(0xfc00_1ffc));
        Assert.Equal(1, _board.Call(Memory, 6, XenBoard.Data));
        Assert.Equal(0u, _board.Read(0xfc00_1ffc));
    }

    /// <summary>As many pages as the guest has and a few more, whatever it asks for.</summary>
    [Fact]
    public void PagesAreNotEndless()
    {
        _board.Write(XenBoard.Data, XenBoard.Data + 64, 16, 9, 0, XenBoard.Self);
        for (uint n = 0; n < 16; n++) _board.Write(XenBoard.Data + 64 + (n * 4), 0xe_0000 + (n << 9));
        Assert.InRange(_board.Call(Memory, 6, XenBoard.Data), 1, Physmap.SlackPages >> 9);
        Assert.Equal(0, _board.Call(Memory, 6, XenBoard.Data));
    }

    [Fact]
    public void TheSharedPageIsAtOnePlaceAtATime()
    {
        _board.Write(XenBoard.Data, XenBoard.Self, 0, 0, 0xf_dfff);
        Assert.Equal(0, _board.Call(Memory, 7, XenBoard.Data));
        // vcpu_info[0].time: 1 GHz.
        Assert.Equal((0x8000_0000u, 0x101u), (_board.Read(0xfdff_f000 + 32 + 24), _board.Read(0xfdff_f000 + 32 + 28)));
        _board.Write(XenBoard.Data, XenBoard.Self, 0, 0, 0x300);
        Assert.Equal(0, _board.Call(Memory, 7, XenBoard.Data));
        Assert.Equal(uint.MaxValue, _board.Read(0xfdff_f000));
        Assert.Equal(0x8000_0000u, _board.Read(0x30_0000 + 32 + 24));
        _board.Write(XenBoard.Data, XenBoard.Self, 0, 1, 0x300);
        Assert.Equal(-EINVAL, _board.Call(Memory, 7, XenBoard.Data));
        _board.Write(XenBoard.Data, XenBoard.Self, 0, 0, 0xffff_ffff);
        Assert.Equal(-EINVAL, _board.Call(Memory, 7, XenBoard.Data));
    }

    [Fact]
    public void RamMovesToAnotherFrame()
    {
        _board.Write(0x40_0000, 0x5678);
        _board.Write(XenBoard.Data, XenBoard.Self | (2u << 16), 3, 0x400, 0xe_0000);
        Assert.Equal(0, _board.Call(Memory, 7, XenBoard.Data));
        Assert.Equal((uint.MaxValue, 0x5678u), (_board.Read(0x40_0000), _board.Read(0xe000_0000)));
        _board.Machine.Reset();
        Assert.Equal((0x5678u, uint.MaxValue), (_board.Read(0x40_0000), _board.Read(0xe000_0000)));
    }

    [Fact]
    public void TheStoreAnswersOverItsRing()
    {
        Assert.Equal((2u, "qemu_xen"), Ask(2, "platform/device-model\0"));
        Assert.Equal((16u, "ENOENT\0"), Ask(2, "platform/nothing\0"));
        Assert.Equal((16u, "EACCES\0"), Ask(11, "platform/device-model\0mine"));
        Assert.Equal((11u, "OK\0"), Ask(11, "data/a\0value"));
        Assert.Equal((2u, "value"), Ask(2, "/local/domain/1/data/a\0"));
        Assert.Equal((1u, "a\0"), Ask(1, "data\0"));
        Assert.Equal((13u, "OK\0"), Ask(13, "data/a\0"));
        Assert.Equal((16u, "EINVAL\0"), Ask(2, "data//a\0"));
        Assert.Equal((16u, "EINVAL\0"), Ask(2, "data"));
        Assert.Equal((16u, "ENOSYS\0"), Ask(99, ""));
        Assert.Equal((10u, "/local/domain/1\0"), Ask(10, "1\0"));
        Assert.Equal((3u, "n1\0"), Ask(3, "data\0"));
    }

    [Fact]
    public void WatchesTellOfChanges()
    {
        Assert.Equal((4u, "OK\0"), Ask(4, "data\0t\0"));
        Assert.Equal("data\0t\0", NextEvent());
        Assert.Equal((16u, "EEXIST\0"), Ask(4, "data\0t\0"));
        Assert.Equal((11u, "OK\0"), Ask(11, "data/a/b\0x"));
        Assert.Equal("data/a/b\0t\0", NextEvent());
        _board.Machine.Xen!.Store.Write("/local/domain/1/data/c", "from outside");
        Assert.Equal("data/c\0t\0", NextEvent());
        Assert.Equal((4u, "OK\0"), Ask(4, "/local/domain/1/data/a/b\0deep\0"));
        Assert.Equal("/local/domain/1/data/a/b\0deep\0", NextEvent());
        Assert.Equal((13u, "OK\0"), Ask(13, "data/a\0"));
        Assert.Equal("data/a\0t\0", NextEvent());
        Assert.Equal("/local/domain/1/data/a/b\0deep\0", NextEvent());
        Assert.Equal((5u, "OK\0"), Ask(5, "data\0t\0"));
        Assert.Equal((16u, "ENOENT\0"), Ask(5, "data\0t\0"));
        Assert.Equal((21u, "OK\0"), Ask(21, "\0"));
        Assert.Equal((11u, "OK\0"), Ask(11, "data/a/b\0x"));
        var made = 0;
        while (Ask(4, $"data\0w{made}\0").Kind == 4)
        {
            made++;
            NextEvent();
        }

        Assert.Equal(128, made);
    }

    /// <summary>A guest that takes no events gets one a watch in the end, not one a change.</summary>
    [Fact]
    public void EventsThatNobodyTakesAreBounded()
    {
        Ask(4, "data\0t\0");
        NextEvent();
        for (var n = 0; n < 5000; n++) _board.Machine.Xen!.Store.Write($"/local/domain/1/data/{n}", "x");
        var (seen, last) = (0, "");
        for (; NextEvent() is { } text; seen++) last = text;
        Assert.InRange(seen, 1000, 1100);
        Assert.Equal("data\0t\0", last);
    }

    [Fact]
    public void TransactionsAreAllOrNothing()
    {
        Assert.Equal((6u, "1\0"), Ask(6, "\0"));
        Assert.Equal((11u, "OK\0"), Ask(11, "data/a\0one", 1));
        Assert.Equal((16u, "ENOENT\0"), Ask(2, "data/a\0"));
        Assert.Equal((2u, "one"), Ask(2, "data/a\0", 1));
        Assert.Equal((7u, "OK\0"), Ask(7, "T\0", 1));
        Assert.Equal((2u, "one"), Ask(2, "data/a\0"));
        Assert.Equal((16u, "ENOENT\0"), Ask(7, "T\0", 1));

        // What was read has changed meanwhile.
        Assert.Equal((6u, "2\0"), Ask(6, "\0"));
        Assert.Equal((2u, "one"), Ask(2, "data/a\0", 2));
        Assert.Equal((11u, "OK\0"), Ask(11, "data/b\0two", 2));
        _board.Machine.Xen!.Store.Write("/local/domain/1/data/a", "other");
        Assert.Equal((16u, "EAGAIN\0"), Ask(7, "T\0", 2));
        Assert.Equal((16u, "ENOENT\0"), Ask(2, "data/b\0"));

        // What was only written has not; a neighbour that others made stays.
        Assert.Equal((6u, "3\0"), Ask(6, "\0"));
        Assert.Equal((11u, "OK\0"), Ask(11, "data/b\0two", 3));
        _board.Machine.Xen!.Store.Write("/local/domain/1/data/c", "other");
        Assert.Equal((7u, "OK\0"), Ask(7, "T\0", 3));
        Assert.Equal((2u, "other"), Ask(2, "data/c\0"));
        Assert.Equal((2u, "two"), Ask(2, "data/b\0"));
        for (var n = 0; n < 10; n++) Assert.Equal(6u, Ask(6, "\0").Kind);
        Assert.Equal((16u, "ENOSPC\0"), Ask(6, "\0"));
        Assert.Equal((7u, "OK\0"), Ask(7, "F\0", 4));
    }

    [Fact]
    public void LongListsComeInParts()
    {
        for (var n = 0; n < 600; n++) Assert.Equal(11u, Ask(11, $"data/name-{n:d5}\0").Kind);
        Assert.Equal((16u, "E2BIG\0"), Ask(1, "data\0"));
        var names = "";
        while (true)
        {
            var (kind, text) = Ask(22, $"data\0{names.Length}\0");
            Assert.Equal(22u, kind);
            var part = text[(text.IndexOf('\0', StringComparison.Ordinal) + 1)..];
            names += part;
            if (part.EndsWith("\0\0", StringComparison.Ordinal)) break;
        }

        Assert.Equal(600, names.Split('\0', StringSplitOptions.RemoveEmptyEntries).Length);
    }

    [Fact]
    public void AFullStoreRefusesMore()
    {
        var refused = 0;
        for (var n = 0; n < 1100; n++)
            if (Ask(11, $"data/{n}\0x").Kind == 16) refused++;
        Assert.InRange(refused, 100, 120);
        Assert.Equal((16u, "ENOSPC\0"), Ask(11, "data/0\0" + new string('x', 3000)));
    }

    [Theory]
    [InlineData(2052, 5000u)]
    [InlineData(2056, 5000u)]
    public void ALyingRingIsCutOffUntilTheGuestReconnects(int index, uint value)
    {
        Ask(2, "name\0");
        _board.Write(StorePage + (uint)index, value);
        Assert.Equal(0, Send());
        Assert.Equal(1u, _board.Read(StorePage + 2072));
        _board.Write(StorePage + 2068, 1);
        Assert.Equal(0, Send());
        Assert.Equal(0u, _board.Read(StorePage + 2068));
        Assert.Equal((2u, "guest"), Ask(2, "name\0"));
    }

    [Fact]
    public void RandomCallsDoNoHarm()
    {
        var random = new Random(1);
        var stubs = _board.Bytes(XenBoard.HypercallPage, 4096);
        int[] calls = [Memory, Version, 18, 29, Event, Hvm, 13, 15, 20, 21, 24];
        for (var n = 0; n < 20_000; n++)
        {
            for (var w = 0u; w < 8; w++) _board.Write(XenBoard.Data + (w * 4), Pick(random));
            var number = calls[random.Next(calls.Length)];
            var command = (uint)random.Next(30);
            // The test's code has nothing that takes an NMI, and a list of calls writes among them.
            if (number == 24 && command == 11) continue;
            ulong first = number == 13 ? XenBoard.Data + command : command;
            _board.Call(number, first, random.Next(4) == 0 ? Pick(random) : number == 13 ? command : XenBoard.Data + (uint)random.Next(8), Pick(random));
            // The page with the code of the test must stay.
            if (_board.Bytes(0x10_0000, 1)[0] != 0xb9 || !_board.Bytes(XenBoard.HypercallPage, 4096).AsSpan().SequenceEqual(stubs) || _board.Bytes(0x9_0000 - 4, 4) is [0xff, 0xff, 0xff, 0xff] || _board.Read(XenBoard.Data) == uint.MaxValue)
            {
                _board.Machine.Reset();
                _board.Start();
            }
        }
    }

    [Fact]
    public void DamagedLoadersAreRefused()
    {
        var random = new Random(2);
        for (var n = 0; n < 2000; n++)
        {
            var loader = XenBoard.MakeLoader();
            for (var change = random.Next(1, 4); change > 0; change--) loader[random.Next(0x54)] = (byte)random.Next(256);
            var machine = new XenDM.Hypervisor.Embedded.EmbeddedMachine(new(XenBoard.Memory, 1, CpuModel.V3, [], true, 0, 0) { Xen = new XenGuestOptions(loader, [], Guid.Empty) }, Core.Tracing.SilentLog.Instance);
            try
            {
                machine.Build(new Core.Time.VmClock(machine.TimeSource));
                machine.Reset();
            }
            catch (DomainBuildException)
            {
            }
            finally
            {
                machine.Dispose();
            }
        }
    }

    private static uint Pick(Random random) => random.Next(5) switch
    {
        0 => (uint)random.Next(16),
        1 => XenBoard.Self,
        2 => (uint)random.Next(0x1000),
        3 => 0xf_0000 + (uint)random.Next(0x1_0000),
        _ => (uint)random.NextInt64(1L << 32),
    };

    private (int Result, uint Value) Get(uint index)
    {
        _board.Write(XenBoard.Data, XenBoard.Self, index, 0xaaaa, 0);
        return (_board.Call(Hvm, 1, XenBoard.Data), _board.Read(XenBoard.Data + 8));
    }

    private int Set(uint index, uint value)
    {
        _board.Write(XenBoard.Data, XenBoard.Self, index, value, 0);
        return _board.Call(Hvm, 0, XenBoard.Data);
    }

    private int Send()
    {
        _board.Write(XenBoard.Data, 1);
        return _board.Call(Event, 4, XenBoard.Data);
    }

    /// <summary>Sends a request byte by byte through the ring and collects the reply.</summary>
    private readonly System.Collections.Generic.List<byte> _received = [];
    private readonly System.Collections.Generic.Queue<string> _events = new();

    /// <summary>Sends a request through the ring and waits for the answer; events that come meanwhile are kept.</summary>
    private (uint Kind, string Payload) Ask(uint kind, string payload, uint transaction = 0)
    {
        byte[] request = [.. BitConverter.GetBytes(kind), .. BitConverter.GetBytes(7), .. BitConverter.GetBytes(transaction), .. BitConverter.GetBytes(payload.Length), .. Encoding.ASCII.GetBytes(payload)];
        while (true)
        {
            request = request[Pump(request)..];
            if (Take() is not { } message) continue;
            if (message.Request == 7) return (message.Kind, message.Payload);
            _events.Enqueue(message.Payload);
        }
    }

    /// <summary>Path and token, or null when none comes.</summary>
    private string? NextEvent()
    {
        if (_events.TryDequeue(out var kept)) return kept;
        for (var tries = 0; tries < 10; tries++)
        {
            if (Take() is { } message) return message.Payload;
            Pump([]);
        }

        return null;
    }

    private (uint Kind, uint Request, string Payload)? Take()
    {
        if (_received.Count < 16) return null;
        byte[] head = [.. _received[..16]];
        var length = 16 + BitConverter.ToInt32(head, 12);
        if (_received.Count < length) return null;
        var payload = Encoding.ASCII.GetString([.. _received[16..length]]);
        _received.RemoveRange(0, length);
        return (BitConverter.ToUInt32(head), BitConverter.ToUInt32(head, 4), payload);
    }

    /// <summary>Moves bytes both ways as far as the rings let them.</summary>
    /// <returns>How many were sent.</returns>
    private int Pump(byte[] bytes)
    {
        var producer = _board.Read(StorePage + 2052);
        var count = (int)Math.Min(bytes.Length, 1024 - (producer - _board.Read(StorePage + 2048)));
        for (var n = 0; n < count; n++) _board.Machine.Memory.TryWrite(StorePage + ((producer + (uint)n) & 1023), [bytes[n]]);
        _board.Write(StorePage + 2052, producer + (uint)count);
        Assert.Equal(0, Send());
        var (consumer, end) = (_board.Read(StorePage + 2056), _board.Read(StorePage + 2060));
        for (; consumer != end; consumer++) _received.Add(_board.Bytes(StorePage + 1024 + (consumer & 1023), 1)[0]);
        _board.Write(StorePage + 2056, consumer);
        return count;
    }
}
