using System;
using System.Collections.Generic;
using XenDM.Backends.Block;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;

namespace XenDM.Machines;

/// <summary>One drive of the running machine: its image comes and goes where it is a CD drive.</summary>
internal sealed class Drive
{
    public required DriveSpec Spec { get; init; }

    public IBlockBackend? Image { get; set; }

    /// <summary>What the drive is told of its medium; null for disks.</summary>
    public IMediumListener? Tray { get; set; }
}

/// <summary>The drives, by the names that QMP uses.</summary>
internal sealed class DriveTable : IDisposable
{
    private readonly List<Drive> _drives = [];

    /// <summary>Opens all images; the log says which CD images are damaged.</summary>
    /// <exception cref="BlockOpenException">One cannot be opened; those before are closed again.</exception>
    public DriveTable(IReadOnlyList<DriveSpec> specs, IEventLoop loop, IMachineLog log)
    {
        try
        {
            foreach (var spec in specs)
            {
                _drives.Add(new Drive { Spec = spec, Image = spec.File is null ? null : Open(spec, loop) });
                if (spec is { IsCdrom: true, File: not null } && IsoCheck.Fault(spec.File) is { } fault) log.Warn(spec.Id, fault);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    private static IBlockBackend Open(DriveSpec spec, IEventLoop loop)
    {
        var image = RawImage.Open(spec.File!, spec.Format, spec.ReadOnly || spec.IsSnapshot, loop);
        return spec.IsSnapshot ? SnapshotImage.Over(image, loop) : image;
    }

    public IReadOnlyList<Drive> All => _drives;

    /// <summary>Bytes of the largest image that the guest may write.</summary>
    public long LargestWritable
    {
        get
        {
            var largest = 0L;
            foreach (var drive in _drives)
                if (drive.Image is { IsReadOnly: false } image) largest = Math.Max(largest, image.LengthBytes);
            return largest;
        }
    }

    /// <summary>An image has requests that are not done.</summary>
    public bool IsBusy
    {
        get
        {
            foreach (var drive in _drives)
                if (drive.Image is { InFlight: > 0 }) return true;
            return false;
        }
    }

    /// <summary>A drive by the id of its device or its own.</summary>
    public Drive? Find(string id) => _drives.Find(d => d.Spec.DeviceId == id && id.Length > 0) ?? _drives.Find(d => d.Spec.Id == id);

    /// <summary>Waits for everything in flight.</summary>
    public void Drain()
    {
        foreach (var drive in _drives) drive.Image?.Drain();
    }

    /// <summary>Waits for everything in flight and brings it to stable storage.</summary>
    public void Flush(IMachineLog log)
    {
        Drain();
        foreach (var drive in _drives)
        {
            if (drive.Image is not { IsReadOnly: false } image) continue;
            var flush = new BlockRequest(static _ => { }) { Operation = BlockOperation.Flush };
            image.Submit(flush);
            image.Drain();
            if (flush.Error != 0) log.Warn(drive.Spec.Id, $"flush of {image.FileName} failed: {Interop.Libc.Errno.Describe(flush.Error)}");
        }
    }

    public void Dispose()
    {
        foreach (var drive in _drives) drive.Image?.Dispose();
        _drives.Clear();
    }
}
