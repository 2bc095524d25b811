using System;
using System.Collections.Generic;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.Core.Memory;

namespace XenDM.Hypervisor.Tests.Embedded;

/// <summary>Grants from both sides: the guest's hypercalls and entries, and what backends of domain 0 do with them; with their event channels and store.</summary>
public sealed class XenGrantTests : IDisposable
{
    private const int Memory = 12, Grant = 20, Event = 32;
    private const int EINVAL = 22, EBUSY = 16, ENOSYS = 38;
    private const uint Data = XenBoard.Data, Table = 0xfd00_0000, Page = 0x40_0000;
    private const int Guest = 1;
    private readonly XenBoard _board = new XenBoard().Start();
    private readonly Loop _loop = new();
    private readonly XenPorts _ports;

    public XenGrantTests()
    {
        Assert.Equal(0, Add(0, Table >> 12));
        _ports = _board.Machine.Xen!.CreatePorts(_loop);
    }

    public void Dispose() => _board.Dispose();

    /// <summary>The machine's loop, which works when the test says.</summary>
    private sealed class Loop : IEventLoop
    {
        private readonly Queue<Action> _work = new();

        public void Post(Action work)
        {
            lock (_work) _work.Enqueue(work);
        }

        public IFdWatch Watch(int fd, FdEvents events, Action<FdEvents> ready) => throw new NotSupportedException();

        public void AssertMachineThread()
        {
        }

        public void Run()
        {
            while (_work.TryDequeue(out var work)) work();
        }
    }

    [Fact]
    public void TheTableIsAskedForAndGrows()
    {
        _board.Write(Data, XenBoard.Self, 0, 0, 0xaaaa);
        Assert.Equal(0, _board.Call(Grant, 6, Data, 1));
        Assert.Equal((1u, 64u, 0xaaaa_0000u & 0), (_board.Read(Data + 4), _board.Read(Data + 8), _board.Read(Data + 12) & 0));
        Assert.Equal(0, Add(3, 0xf_d010));
        Assert.Equal(-EINVAL, Add(64, 0xf_d011));
        Assert.Equal(-EINVAL, Add(0x8000_0000, 0xf_d011));
        _board.Write(Data, XenBoard.Self, 0, 0, 0);
        Assert.Equal(0, _board.Call(Grant, 6, Data, 1));
        Assert.Equal(4u, _board.Read(Data + 4));
        _board.Write(Data, XenBoard.Self, 4, 0, Data + 64);
        Assert.Equal(0, _board.Call(Grant, 2, Data, 1));
        Assert.Equal((Table >> 12, uint.MaxValue, 0xf_d010u), (_board.Read(Data + 64), _board.Read(Data + 68), _board.Read(Data + 76)));

        // What the toolstack grants for console and store.
        Assert.Equal((1u, 0xf_efffu, 1u, 0xf_effcu), (_board.Read(Table), _board.Read(Table + 4), _board.Read(Table + 8), _board.Read(Table + 12)));
        foreach (var command in (uint[])[3, 4, 7, 9, 12]) Assert.Equal(-ENOSYS, _board.Call(Grant, command, Data, 1));
    }

    [Fact]
    public void BackendsMapWhatIsGranted()
    {
        _board.Write(Page, 0x1234);
        Entry(8, 1, Page >> 12);
        Entry(9, 1 | 4, (Page >> 12) + 1);
        Assert.Null(_ports.Grants.TryMap(Guest, [8, 9], writable: true));
        Assert.Null(_ports.Grants.TryMap(Guest, [8, 10], writable: false));
        Assert.Null(_ports.Grants.TryMap(2, [8], writable: false));
        Assert.Null(_ports.Grants.TryMap(Guest, [100_000], writable: false));
        Assert.Equal(1u, _board.Read(Table + 64));
        using (var mapping = _ports.Grants.TryMap(Guest, [8, 9], writable: false)!)
        {
            Assert.Equal(1u | 8, _board.Read(Table + 64));
            Span<byte> read = stackalloc byte[8];
            mapping.Read(0, read);
            Assert.Equal(0x1234, BitConverter.ToInt32(read));
            mapping.Read(4092, read);
        }

        Assert.Equal(1u, _board.Read(Table + 64));
        using (var mapping = _ports.Grants.TryMap(Guest, [8], writable: true)!)
        {
            Assert.Equal(1u | 24, _board.Read(Table + 64));
            mapping.Write(4, [1, 2, 3, 4]);
            Assert.Equal(0x0403_0201u, _board.Read(Page + 4));

            // The guest gives the page away: it stays the backend's, and is nobody else's.
            _board.Write(Data, Data + 64, 1, 0, 0, XenBoard.Self);
            _board.Write(Data + 64, Page >> 12);
            Assert.Equal(1, _board.Call(Memory, 1, Data));
            Assert.Equal(1, _board.Call(Memory, 6, Data));
            mapping.Write(4, [5, 6, 7, 8]);
            Assert.Equal(0u, _board.Read(Page + 4));
        }
    }

    [Fact]
    public void BackendsMapFramesThatAreRam()
    {
        _board.Write(Page + 4092, 0x1234, 0x5678);
        var frames = new ulong[] { (Page >> 12) + 1, Page >> 12 };
        Assert.Null(_ports.Foreign!.TryMap(2, frames, writable: false));
        Assert.Null(_ports.Foreign.TryMap(Guest, [Page >> 12, 0xa0], writable: false));
        Assert.Null(_ports.Foreign.TryMap(Guest, [Page >> 12, ulong.MaxValue], writable: false));
        Assert.Null(_ports.Foreign.TryMap(Guest, [], writable: false));
        using (var mapping = _ports.Foreign.TryMap(Guest, frames, writable: true)!)
        {
            Span<byte> read = stackalloc byte[4];
            mapping.Read(0, read);
            Assert.Equal([0x78, 0x56, 0, 0], read.ToArray());
            mapping.Write(4094, [1, 2, 3, 4]);
            Assert.Equal(0x1234u, mapping.ReadIndex(8188));
        }

        Assert.Equal([3, 4], _board.Bytes(Page, 2));
        Assert.Equal([1, 2], _board.Bytes(Page + 8190, 2));
        using var reading = _ports.Foreign.TryMap(Guest, frames, writable: false)!;
        Assert.Throws<InvalidOperationException>(() => reading.WriteIndex(0, 1));
    }

    [Fact]
    public void PiecesAreCopied()
    {
        var local = new PinnedBuffer(64);
        "granted"u8.CopyTo(local.Span);
        Entry(8, 1, Page >> 12);
        Entry(9, 1 | 4, (Page >> 12) + 1);
        GrantCopy[] pieces =
        [
            new() { Reference = 8, Offset = 100, Length = 7, ToGuest = true, Local = local.Address },
            new() { Reference = 8, Offset = 101, Length = 6, Local = local.Address + 32 },
            new() { Reference = 9, Offset = 0, Length = 1, ToGuest = true, Local = local.Address },
            new() { Reference = 8, Offset = 4095, Length = 2, Local = local.Address },
            new() { Reference = 60_000, Offset = 0, Length = 2, Local = local.Address },
        ];
        _ports.Grants.Copy(Guest, pieces);
        Assert.Equal([0, 0, -1, -10, -3], Array.ConvertAll(pieces, p => (int)p.Status));
        Assert.Equal("ranted"u8, local.Span.Slice(32, 6));
        Assert.Equal("granted"u8, _board.Bytes(Page + 100, 7));
    }

    [Fact]
    public void VersionTwoHasPartsOfPagesAndItsOwnStatus()
    {
        var local = new PinnedBuffer(64);
        Assert.Equal((0, 2u), Version(2));
        Assert.Equal(0, Add(0x8000_0000, 0xf_d020));
        // Flags and domain, offset and length, frame.
        _board.Write(Table + (8 * 16), 1 | 0x100, 16 | (8 << 16), Page >> 12, 0);
        Assert.Null(_ports.Grants.TryMap(Guest, [8], writable: false));
        GrantCopy[] pieces = [new() { Reference = 8, Offset = 16, Length = 8, Local = local.Address }, new() { Reference = 8, Offset = 15, Length = 2, Local = local.Address }];
        _ports.Grants.Copy(Guest, pieces);
        Assert.Equal((0, -1), (pieces[0].Status, pieces[1].Status));
        _board.Write(Table + (9 * 16), 1, 0, Page >> 12, 0);
        using (_ports.Grants.TryMap(Guest, [9], writable: true))
        {
            Assert.Equal(24u << 16, _board.Read(0xfd02_0010));
            Assert.Equal((-EBUSY, 2u), Version(1));
        }

        Assert.Equal((0, 1u), Version(1));
        Assert.Equal((1u, 0xf_efffu), (_board.Read(Table), _board.Read(Table + 4)));
        Assert.Equal((-EINVAL, 1u), Version(3));
    }

    [Fact]
    public void AGuestCopiesByGrantsToItself()
    {
        _board.Write(Page, 0xcafe);
        Entry(8, 1 | (Guest << 16), Page >> 12);
        // Source: reference, own domain, offset; destination: frame.
        _board.Write(Data, 8, XenBoard.Self, (Page >> 12) + 1, XenBoard.Self | (8 << 16), 4 | (1 << 16), 0x5555);
        Assert.Equal(0, _board.Call(Grant, 5, Data, 1));
        Assert.Equal((0u, 0xcafeu), (_board.Read(Data + 20) & 0xffff, _board.Read(Page + 4096 + 8)));
        _board.Write(Data, 8, 0, (Page >> 12) + 1, XenBoard.Self, 4 | (1 << 16), 0);
        Assert.Equal(0, _board.Call(Grant, 5, Data, 1));
        Assert.Equal(-8, (short)_board.Read(Data + 20));
        _board.Write(Data, 8, 9, 0);
        Assert.Equal(0, _board.Call(Grant, 11, Data, 1));
        Assert.Equal(1u | (Guest << 16), _board.Read(Table + 72));
    }

    [Fact]
    public void EventsGoBothWays()
    {
        _board.Write(Data, XenBoard.Self, 0);
        Assert.Equal(0, _board.Call(Event, 6, Data));
        var port = _board.Read(Data + 4);
        var told = 0;
        Assert.Null(_ports.Events.TryBind(Guest, port + 1, () => told++));
        using var channel = _ports.Events.TryBind(Guest, port, () => told++)!;
        Assert.Equal(1, told);
        Assert.Null(_ports.Events.TryBind(Guest, port, () => told++));
        _board.Write(Data, port);
        Assert.Equal(0, _board.Call(Event, 4, Data));
        Assert.Equal(2, told);
        _board.ShowShared(0x300);
        channel.Notify();
        Assert.NotEqual(0u, _board.Read(0x30_0000 + 2048) & (1u << (int)port));

        // From another thread it comes by way of the loop.
        _board.Write(0x30_0000 + 2048, 0);
        var thread = new Thread(() => { channel.Notify(); channel.Notify(); });
        thread.Start();
        thread.Join();
        Assert.Equal(0u, _board.Read(0x30_0000 + 2048) & (1u << (int)port));
        _loop.Run();
        Assert.NotEqual(0u, _board.Read(0x30_0000 + 2048) & (1u << (int)port));
        _board.Write(Data, port);
        Assert.Equal(0, _board.Call(Event, 3, Data));
        channel.Notify();
    }

    [Fact]
    public void DomainZeroSeesTheSameStore()
    {
        var seen = new List<string>();
        using var watch = _ports.Store.Watch("/local/domain/1/data", seen.Add);
        Assert.Empty(seen);
        _loop.Run();
        Assert.Equal(["/local/domain/1/data"], seen);
        var tries = 0;
        Assert.True(_ports.Store.TryTransact(view =>
        {
            var value = view.Read("/local/domain/1/data/x");
            if (++tries == 1) _ports.Store.Write("/local/domain/1/data/x", "between");
            view.Write("/local/domain/1/data/y", value ?? "none");
        }));
        Assert.Equal((2, "between"), (tries, _ports.Store.Read("/local/domain/1/data/y")));
        Assert.Equal(["x", "y"], _ports.Store.List("/local/domain/1/data"));
        _loop.Run();
        Assert.Equal(3, seen.Count);
        _ports.Store.Remove("/local/domain/1/data/x");
        _ports.Store.Remove("/local/domain/1/nothing/there");
        Assert.Null(_ports.Store.Read("/local/domain/1/data/x"));
        Assert.Throws<StoreException>(() => _ports.Store.Write("//", ""));
    }

    private (int, uint) Version(uint version)
    {
        _board.Write(Data, version);
        return (_board.Call(Grant, 8, Data, 1), _board.Read(Data));
    }

    private int Add(uint index, uint frame)
    {
        _board.Write(Data, XenBoard.Self, 1, index, frame);
        return _board.Call(Memory, 7, Data);
    }

    private void Entry(uint reference, uint head, uint frame) => _board.Write(Table + (reference * 8), head, frame);
}
