using System.IO;
using XenDM.Testing;

namespace XenDM.Interop.Tests.Xen;

/// <summary>What a process without Xen says: one line, and nothing of the libraries beside it.</summary>
public sealed class OpeningTests
{
    private const string Store = TestHost.Libraries + "libxenstore.so.4";

    [HostFact(Without = TestHost.XenDevice)]
    public void WithoutDevice_TheLineIsTheOnlyOne()
    {
        Assert.Equal("no Xen here: cannot open /dev/xen/privcmd: No such file or directory", ChildProcess.Run("open", ["model"]));
    }

    /// <summary>A file that is no library comes first in the search path and stops the loader, as a missing one does.</summary>
    [HostFact(Store, Without = "/run/xenstored")]
    public void XenStore_UnderItsOlderName_IsFound()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.File("libxenstore.so.4"), "");
        Assert.Equal("Xen's libraries are not installed on this host: cannot load libxenstore.so.4", ChildProcess.Run("open", ["store"], folder.File("")));
        File.CreateSymbolicLink(folder.File("libxenstore.so.3.0"), Store);
        Assert.StartsWith("cannot open xenstore: ", ChildProcess.Run("open", ["store"], folder.File("")), System.StringComparison.Ordinal);
    }
}
