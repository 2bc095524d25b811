using XenDM.Core.Tracing;
using XenDM.Hypervisor.Xen;
using XenDM.Interop.Xen;
using XenDM.Testing;

namespace XenDM.Hypervisor.Tests.Xen;

[Collection("libxenstore")]
public sealed class XenHypervisorTests
{
    [HostFact(Without = TestHost.XenDevice)]
    public void WithoutXen_OneLineSaysWhatIsMissing()
    {
        var e = Assert.Throws<XenException>(static () => new XenHypervisor(1, 1, SilentLog.Instance));
        Assert.Matches("^((no Xen here: )?cannot open |Xen's libraries are not installed)", e.Message);
        Assert.DoesNotContain('\n', e.Message);
        Assert.Throws<XenException>(static () => new DeviceModelStore(1));
    }
}
