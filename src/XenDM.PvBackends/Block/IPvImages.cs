using System;
using XenDM.Core.Backends;
using XenDM.PvBackends.XenBus;

namespace XenDM.PvBackends.Block;

/// <summary>An image as the toolstack names it.</summary>
/// <param name="Name">What the disk is called, e.g. xvdb.</param>
/// <param name="Format">raw, qcow2, ...</param>
public readonly record struct PvImageSpec(string Name, string Path, string Format, bool IsReadOnly, bool IsCdrom);

/// <summary>An open image and where its requests are made. Disposing closes what was opened for it.</summary>
public sealed class PvImage(IBlockBackend image, IDataPlane plane, bool isOwned) : IDisposable
{
    public IBlockBackend Image => image;

    public IDataPlane Plane => plane;

    /// <summary>Bytes that the host writes at once; told to the guest, which aligns to it.</summary>
    public int PhysicalSectorBytes { get; init; } = 512;

    /// <summary>512, or 4096 for a disk that takes nothing smaller.</summary>
    public int SectorBytes { get; init; } = 512;

    /// <summary>Sectors of 512 bytes that the guest may use: whole ones of the disk's own.</summary>
    public long Sectors => image.LengthBytes / SectorBytes * (SectorBytes / BlockProtocol.SectorBytes);

    public void Dispose()
    {
        if (!isOwned) return;
        plane.Run(image.Dispose);
        plane.Dispose();
    }
}

/// <summary>Opens images for PV disks.</summary>
public interface IPvImages
{
    /// <exception cref="PvException">It cannot be opened; the text says why.</exception>
    PvImage Open(in PvImageSpec spec);
}
