using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;
using XenDM.PvBackends.Block;
using XenDM.PvBackends.XenBus;
using XenDM.Testing;
using PvBus = XenDM.PvBackends.XenBus.XenBus;

namespace XenDM.PvBackends.Tests;

/// <summary>A machine with PV devices on a fake Xen. Nothing runs but when <see cref="Pump"/> is called, unless an image has a plane of its own.</summary>
public sealed class PvMachine : IMachineLog, IMachineEvents, IPvImages, IDisposable
{
    public PvMachine(int pages = 8192)
    {
        Xen = new FakeXen(Loop, pages);
        Bus = new PvBus(Xen.Ports, FakeXen.Guest, 0, [new BlockKind(new BlockHost(Xen.Ports, FakeXen.Guest, this, Loop, this))], Loop, this);
    }

    public FakeLoop Loop { get; } = new();

    public FakeXen Xen { get; }

    public PvBus Bus { get; }

    /// <summary>What is behind a path; a path that is not here cannot be opened.</summary>
    public Dictionary<string, Func<PvImageSpec, PvImage>> Files { get; } = [];

    /// <summary>Images that were opened.</summary>
    public List<PvImageSpec> Opened { get; } = [];

    public List<string> Log { get; } = [];

    public List<string> Events { get; } = [];

    public bool GuestAllowed { get; set; } = true;

    /// <summary>An image in memory under a path.</summary>
    public FakeDisk AddFile(string path, int bytes = 1 << 20, bool log = true, int sectorBytes = 512, bool readOnly = false)
    {
        var disk = new FakeDisk(Loop, bytes, readOnly) { FileName = path, Log = log };
        Files[path] = _ => new PvImage(disk, new LoopPlane(Loop), isOwned: true) { SectorBytes = sectorBytes };
        return disk;
    }

    /// <summary>A device as the toolstack makes it.</summary>
    public (string Front, string Back) AddDevice(int id, string parameters, string mode = "w", string type = "disk", params (string, string)[] more) =>
        Xen.AddDevice("vbd", "qdisk", id, [("params", parameters), ("dev", "xvda"), ("mode", mode), ("device-type", type), .. more]);

    /// <summary>A disk with its image, and a front end for it.</summary>
    public (FakeDisk Disk, BlockFront Front) AddDisk(BlockFrontOptions options, int bytes = 1 << 20, int id = 51712, string mode = "w", string type = "disk", int sectorBytes = 512, bool log = true)
    {
        var disk = AddFile($"/images/{id}", bytes, log, sectorBytes, mode == "r");
        var (front, back) = AddDevice(id, $"aio:/images/{id}", mode, type);
        return (disk, new BlockFront(Xen, front, back, options, Pump));
    }

    /// <summary>A disk whose requests are served by a thread of its own.</summary>
    internal (FakeDisk Disk, BlockFront Front, ThreadPlane Plane) AddThreadedDisk(BlockFrontOptions options, int bytes, int id)
    {
        var plane = new ThreadPlane();
        var disk = new FakeDisk(plane.Loop, bytes) { Log = false };
        Files[$"/images/{id}"] = _ => new PvImage(disk, plane, isOwned: true);
        var (front, back) = AddDevice(id, $"aio:/images/{id}");
        return (disk, new BlockFront(Xen, front, back, options, () =>
        {
            Pump();
            plane.Run(static () => { });
            plane.Run(static () => { });
            Pump();
        }), plane);
    }

    /// <summary>The same, connected.</summary>
    public (FakeDisk Disk, BlockFront Front) Connect(BlockFrontOptions options, int bytes = 1 << 20, int id = 51712, string mode = "w", string type = "disk", int sectorBytes = 512, bool log = true)
    {
        var (disk, front) = AddDisk(options, bytes, id, mode, type, sectorBytes, log);
        Assert.True(front.Connect(), string.Join('\n', Log));
        return (disk, front);
    }

    public void Pump() => Loop.RunPosted(100_000);

    public string? ErrorOf(int id) => Xen.Store.Read($"/local/domain/0/error/backend/qdisk/{FakeXen.Guest}/{id}/error");

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

    void IMachineEvents.BlockIoError(string device, bool isWrite, int errno, string reason) => Events.Add($"{device} {(isWrite ? "write" : "read")} {errno}");

    void IMachineEvents.TrayMoved(string device, string id, bool isOpen)
    {
    }

    PvImage IPvImages.Open(in PvImageSpec spec)
    {
        if (!Files.TryGetValue(spec.Path, out var open)) throw new PvException($"cannot open image '{spec.Path}': no such file");
        Opened.Add(spec);
        return open(spec);
    }
}

/// <summary>A data plane on a loop that others run too.</summary>
internal sealed class LoopPlane(IEventLoop loop) : IDataPlane
{
    public IEventLoop Loop => loop;

    public void Run(Action work) => work();

    public void Dispose()
    {
    }
}

/// <summary>A data plane with a thread. What it throws ends the test's next <see cref="Run"/>.</summary>
internal sealed class ThreadPlane : IDataPlane
{
    private readonly BlockingCollection<Action> _posted = [];
    private readonly Thread _thread;
    private volatile Exception? _failure;

    public ThreadPlane()
    {
        Loop = new PostLoop(_posted);
        _thread = new Thread(Serve) { IsBackground = true };
        _thread.Start();
    }

    public IEventLoop Loop { get; }

    public bool IsDisposed => _posted.IsAddingCompleted;

    public void Run(Action work)
    {
        if (IsDisposed) return;
        using var done = new ManualResetEventSlim();
        _posted.Add(() =>
        {
            work();
            done.Set();
        });
        while (!done.Wait(10))
            if (_failure is not null) break;
        if (_failure is { } failure) throw new InvalidOperationException("the data plane failed", failure);
    }

    public void Dispose()
    {
        if (_posted.IsAddingCompleted) return;
        _posted.CompleteAdding();
        _thread.Join();
        if (_failure is { } failure) throw new InvalidOperationException("the data plane failed", failure);
    }

    private void Serve()
    {
        try
        {
            foreach (var work in _posted.GetConsumingEnumerable()) work();
        }
        catch (Exception e)
        {
            _failure = e;
        }
    }

    private sealed class PostLoop(BlockingCollection<Action> posted) : IEventLoop
    {
        public void Post(Action work)
        {
            if (!posted.IsAddingCompleted) posted.Add(work);
        }

        public IFdWatch Watch(int fd, FdEvents events, Action<FdEvents> ready) => throw new NotSupportedException();

        public void AssertMachineThread()
        {
        }
    }
}
