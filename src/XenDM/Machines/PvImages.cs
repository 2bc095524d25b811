using XenDM.Backends.Block;
using XenDM.Core.Backends;
using XenDM.Hosting;
using XenDM.PvBackends.Block;
using XenDM.PvBackends.XenBus;

namespace XenDM.Machines;

/// <summary>
/// Opens the images of PV disks. Each has a thread of its own, and a descriptor beside that of the emulated twin, which is drained and gone before
/// a guest uses the PV disk; where the twin's writes are kept in memory, or the run is to be repeatable, both share one.
/// </summary>
/// <param name="drives">The emulated drives.</param>
/// <param name="isRepeatable">Nothing may depend on threads.</param>
internal sealed class PvImages(DriveTable drives, IEventLoop loop, bool isRepeatable) : IPvImages
{
    public PvImage Open(in PvImageSpec spec)
    {
        foreach (var drive in drives.All)
        {
            if (drive.Image is { } image && drive.Spec.File == spec.Path && (drive.Spec.IsSnapshot || isRepeatable)) return new PvImage(image, new MachinePlane(loop), isOwned: false);
        }

        var plane = new DataPlane(spec.Name);
        IBlockBackend? opened = null;
        try
        {
            var (path, format, readOnly) = (spec.Path, spec.Format, spec.IsReadOnly);
            plane.Run(() => opened = RawImage.Open(path, format, readOnly, plane.Loop, hasOwnThread: true));
            return new PvImage(opened!, plane, isOwned: true);
        }
        catch (BlockOpenException e)
        {
            plane.Dispose();
            throw new PvException(e.Message);
        }
    }
}
